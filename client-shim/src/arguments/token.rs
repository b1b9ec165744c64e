//! The arguments of `keyfob token`.
//!
//! They say what is asked for and nothing of what for: no tool tells its token command which server it is called for.

use std::ffi::OsStr;

use crate::arguments::mistake::Mistake;
use crate::arguments::{Account, Known, NO_AUTOSTART, Parsed, Value};

/// What token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenOptions {
    /// Whose.
    pub(crate) account: Account,
    /// Which.
    pub(crate) kind: Kind,
    /// What it should be good for, in the words of the command line; nothing leaves it to the account.
    pub(crate) scopes: Vec<String>,
    /// For whom.
    pub(crate) audience: Option<String>,
    /// For which servers.
    pub(crate) resources: Vec<String>,
    /// How many seconds it lives on, at least.
    pub(crate) min_ttl: Option<u64>,
    /// How many seconds a renewal may take.
    pub(crate) wait: Option<u64>,
}

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The access token.
    Access,
    /// The ID token.
    Id,
}

const MIN_TTL: Known = Known { name: "--min-ttl", value: Value::Seconds };
const WAIT: Known = Known { name: "--wait", value: Value::Seconds };
const SCOPE: Known = Known { name: "--scope", value: Value::Text("a value") };
const AUDIENCE: Known = Known { name: "--audience", value: Value::Text("a value") };
const RESOURCE: Known = Known { name: "--resource", value: Value::Text("a value") };
const ID_TOKEN: Known = Known { name: "--id-token", value: Value::None };

/// What can stand there beside an account.
pub(super) const OPTIONS: &[Known] = &[SCOPE, AUDIENCE, RESOURCE, ID_TOKEN, MIN_TTL, WAIT, NO_AUTOSTART];

impl TokenOptions {
    /// Gives the arguments their meaning. `account` is the value of `KEYFOB_ACCOUNT`.
    pub(super) fn read(parsed: &mut Parsed, account: Option<&OsStr>) -> Result<Self, Mistake> {
        let account = parsed.account(account)?;
        Ok(Self {
            account,
            min_ttl: parsed.number_of(MIN_TTL),
            wait: parsed.number_of(WAIT),
            kind: if parsed.has(ID_TOKEN) { Kind::Id } else { Kind::Access },
            scopes: parsed.texts_of(SCOPE).map(text).collect(),
            audience: parsed.texts_of(AUDIENCE).next_back().map(text),
            resources: parsed.texts_of(RESOURCE).map(text).collect(),
        })
    }
}

fn text(given: &OsStr) -> String {
    given.to_string_lossy().into_owned()
}

#[cfg(test)]
impl TokenOptions {
    /// Asks for nothing in particular.
    pub(crate) fn of(account: Account) -> Self {
        Self {
            account,
            kind: Kind::Access,
            scopes: Vec::new(),
            audience: None,
            resources: Vec::new(),
            min_ttl: None,
            wait: None,
        }
    }
}
