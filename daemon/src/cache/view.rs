//! What the world may see of an account at a time: a snapshot that its owner publishes after every change.
//!
//! Readers take it without a wait. That is why a token that is good enough costs no message, no lock and no await.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::account::Account;
use crate::cache::login::LoginProgress;
use crate::clock::Moment;
use crate::store::StoreError;
use crate::token::TokenSet;
use crate::token::state::{Answer, TokenState, Unavailable};

/// An account at a time.
#[derive(Clone, Debug)]
pub struct View {
    /// Its settings.
    pub account: Arc<Account>,
    /// What the store said about it.
    pub stored: Stored,
    /// What it holds and how the renewal goes.
    pub state: TokenState,
    /// When its renewal failed last, if no success has followed.
    pub failed_at: Option<Timestamp>,
    /// How its latest login goes.
    pub login: LoginProgress,
    /// Grows with every change of `login`.
    pub login_revision: u64,
}

/// What the store said about an account.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It has not answered yet.
    Unread,
    /// It could not be read: what the account holds is unknown, and nothing may overwrite it.
    Unreadable(Arc<StoreError>),
    /// It has what the account holds.
    Durable,
    /// It could not be written: what the account holds is in memory alone.
    Volatile(Arc<StoreError>),
}

/// A token, and why it is not what was asked for where it is not.
#[derive(Clone, Debug)]
pub struct Served {
    /// The token set.
    pub tokens: Arc<TokenSet>,
    /// What stood in the way of a fresher one.
    pub stale: Option<Unavailable>,
}

/// Why a client gets no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none that works.
    #[error("no token")]
    Unavailable(Unavailable),
    /// The store could not be read.
    #[error("the store cannot be read")]
    Store(Arc<StoreError>),
    /// Too many clients wait for this account.
    #[error("too many clients are waiting")]
    Crowded,
    /// The account is being closed: the daemon stops, or the account was removed.
    #[error("the account is being closed")]
    Closing,
}

impl View {
    /// Returns the token if it is good enough as it is.
    pub fn fresh(&self, min_ttl: Option<Duration>, now: Moment) -> Option<Served> {
        match self.state.answer(now, min_ttl) {
            Answer::Serve(tokens) => Some(Served { tokens, stale: None }),
            Answer::ServeStale(..) | Answer::Renew | Answer::Wait | Answer::Fail(_) => None,
        }
    }

    /// Returns the best that there is, without waiting for anything.
    pub fn best(&self, now: Moment) -> Result<Served, Refusal> {
        match &self.stored {
            Stored::Unreadable(error) => Err(Refusal::Store(Arc::clone(error))),
            Stored::Unread => Err(Refusal::Unavailable(Unavailable::Renewing)),
            Stored::Durable | Stored::Volatile(_) => conclusion(self.state.settled(now)),
        }
    }
}

/// Turns an answer that needs no more waiting into what a client gets.
pub(super) fn conclusion(answer: Answer) -> Result<Served, Refusal> {
    match answer {
        Answer::Serve(tokens) => Ok(Served { tokens, stale: None }),
        Answer::ServeStale(tokens, why) => Ok(Served { tokens, stale: Some(why) }),
        Answer::Fail(why) => Err(Refusal::Unavailable(why)),
        Answer::Renew | Answer::Wait => Err(Refusal::Unavailable(Unavailable::Renewing)),
    }
}
