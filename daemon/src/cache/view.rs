//! What the world may see of an account at a time: a snapshot that its owner publishes after every change.
//!
//! Readers take it without a wait. That is why a token that is good enough costs no message, no lock and no await.

use std::sync::Arc;

use jiff::Timestamp;

use crate::account::Account;
use crate::cache::login::LoginProgress;
use crate::cache::variant::Snapshot;
use crate::clock::Moment;
use crate::grant::Wanted;
use crate::store::StoreError;
use crate::token::need::Need;
use crate::token::state::{Answer, Held, Renewal, SignedOut, TokenState, Unavailable};
use crate::token::{Scope, TokenSet};

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
    /// The same for the other targets that clients have asked for.
    pub variants: Snapshot,
    /// How its latest login goes.
    pub login: LoginProgress,
    /// Grows with every change of `login`.
    pub login_revision: u64,
    /// How many outcomes of renewals were dropped because a login, a logout or other settings overtook them.
    pub dropped: u64,
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
    /// It has what the account holds, and nothing else has: keyfob is locked.
    Locked,
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
    /// The login was not granted that much.
    #[error("{missing} was not granted")]
    InsufficientScope {
        /// What was asked for beyond what was granted.
        missing: Scope,
    },
    /// Tokens for other targets need a refresh token, and the issuer gave none.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// The store could not be read.
    #[error("the store cannot be read")]
    Store(Arc<StoreError>),
    /// Nobody gets anything until keyfob is unlocked.
    #[error("keyfob is locked")]
    Locked,
    /// Too many clients wait for this account.
    #[error("too many clients are waiting")]
    Crowded,
    /// The account is being closed: the daemon stops, or the account was removed.
    #[error("the account is being closed")]
    Closing,
}

impl View {
    /// Returns what is held for a target, and how its renewal goes.
    pub fn state_of(&self, wanted: &Wanted) -> Option<&TokenState> {
        match wanted {
            Wanted::Own => Some(&self.state),
            Wanted::Other(target) => self.variants.get(target).map(|variant| &variant.state),
        }
    }

    /// Returns the token if it is good enough as it is.
    pub fn fresh(&self, wanted: &Wanted, need: Need, now: Moment) -> Option<Served> {
        if let Wanted::Other(target) = wanted {
            self.variants.get(target)?.note_use();
        }
        match self.state_of(wanted)?.answer(now, need) {
            Answer::Serve(tokens) => Some(Served { tokens, stale: None }),
            Answer::ServeStale(..) | Answer::Renew | Answer::Wait | Answer::Fail(_) => None,
        }
    }

    /// Returns, in words, that the login will not last, if it will not, or perhaps not.
    pub fn warning(&self, now: Moment) -> Option<String> {
        if self.state.doubt().is_some() {
            return Some(format!(
                "the answer to a renewal got lost, so its refresh token may be spent: a login may be needed soon (keyfob login {})",
                self.account.name
            ));
        }
        let will_expire = Renewal::Impossible { then: SignedOut::Expired };
        let is_signed_in = matches!(self.state.held(now), Held::SignedIn(_));
        (is_signed_in && self.state.renewal() == will_expire).then(|| {
            "the issuer gave no refresh token, so this login ends with its access token: ask for one by a scope such as \
             offline_access, which some issuers want together with extra_params = { authorization = { prompt = \"consent\" } }"
                .to_owned()
        })
    }

    /// Returns the best that there is, without waiting for anything.
    pub fn best(&self, wanted: &Wanted, need: Need, now: Moment) -> Result<Served, Refusal> {
        match (&self.stored, self.state_of(wanted)) {
            (Stored::Unreadable(error), _) => Err(Refusal::Store(Arc::clone(error))),
            (Stored::Locked, _) => Err(Refusal::Locked),
            (Stored::Unread, _) | (Stored::Durable | Stored::Volatile(_), None) => {
                Err(Refusal::Unavailable(Unavailable::Renewing))
            }
            (Stored::Durable | Stored::Volatile(_), Some(state)) => conclusion(state.settled(now, need.kind)),
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
