//! What a sealed file is for: which account, and which part of what rests for it.
//!
//! The thing to get wrong: all files of an account are sealed with the same key, so the part is authenticated as the
//! account is, or the one could be put in place of the other.

use std::fmt;

use keyfob_protocol::account::AccountName;

/// What a sealed file is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) account: &'a AccountName,
    part: Part,
}

/// One part of what rests for an account.
#[derive(Clone, Copy, Debug)]
enum Part {
    Tokens,
    Login,
    Intent,
    Answer,
}

impl<'a> Slot<'a> {
    /// Returns the place of an account's tokens.
    pub(crate) fn tokens(account: &'a AccountName) -> Self {
        Self { account, part: Part::Tokens }
    }

    /// Returns the place of an account's pending login.
    pub(crate) fn login(account: &'a AccountName) -> Self {
        Self { account, part: Part::Login }
    }

    /// Returns the place of what an account's renewal is about to do: the first frame of its journal.
    pub(crate) fn intent(account: &'a AccountName) -> Self {
        Self { account, part: Part::Intent }
    }

    /// Returns the place of the answer to an account's renewal: the second frame of its journal.
    pub(crate) fn answer(account: &'a AccountName) -> Self {
        Self { account, part: Part::Answer }
    }

    /// Tells whether it is for tokens.
    pub(crate) fn is_tokens(self) -> bool {
        match self.part {
            Part::Tokens => true,
            Part::Login | Part::Intent | Part::Answer => false,
        }
    }

    /// Returns what the seal vouches for beside the account's name. Tokens were the first, and have none.
    pub(crate) fn label(self) -> &'static [u8] {
        match self.part {
            Part::Tokens => b"",
            Part::Login => b"login",
            Part::Intent => b"intent",
            Part::Answer => b"answer",
        }
    }
}

/// How the files of tokens end: where there is one, there is something to lose.
pub(crate) const TOKENS_SUFFIX: &str = ".sealed";

/// The name of the file.
impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.part {
            Part::Tokens => TOKENS_SUFFIX,
            Part::Login => ".login",
            Part::Intent | Part::Answer => ".journal",
        };
        write!(f, "{}{suffix}", self.account)
    }
}
