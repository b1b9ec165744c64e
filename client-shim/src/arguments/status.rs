//! The arguments of `keyfob status`.
//!
//! A number after `--log` belongs to it, so an account whose name is a number stands before it.

use keyfob_protocol::account::AccountName;

use crate::arguments::mistake::Mistake;
use crate::arguments::{JSON, Known, NO_AUTOSTART, Parsed, Value};

/// What is shown, and in what form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatusOptions {
    /// The one account to show, or all.
    pub(crate) account: Option<AccountName>,
    /// What of it.
    pub(crate) subject: Subject,
    /// In what form.
    pub(crate) form: Form,
}

/// What is shown of the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// How they are.
    State,
    /// `--log`: who was given a token lately, so many at most, or as many as the daemon lists by itself.
    Log(Option<u64>),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

const LOG: Known = Known { name: "--log", value: Value::Count };

/// What can stand there beside an account.
pub(super) const OPTIONS: &[Known] = &[LOG, JSON, NO_AUTOSTART];

impl StatusOptions {
    /// Gives the arguments their meaning.
    pub(super) fn read(parsed: &mut Parsed) -> Result<Self, Mistake> {
        let account = parsed.operands.pop_front().map(|name| name.parse()).transpose()?;
        let subject = if parsed.has(LOG) { Subject::Log(parsed.number_of(LOG)) } else { Subject::State };
        Ok(Self { account, subject, form: parsed.form() })
    }
}
