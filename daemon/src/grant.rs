//! The ways to obtain tokens, behind one trait: a file per grant.
//!
//! A [`TokenSource`] has no state that matters: what is held, when it is renewed and who waits belongs to the owner
//! task of the account. `renew` cannot ask a person; only `begin_login` can.

pub(crate) mod client_credentials;
pub mod command;
pub(crate) mod device_code;
pub(crate) mod issuer;
pub mod program;

mod client_secret;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use url::Url;

use crate::clock::Moment;
use crate::token::failure::Failure;
use crate::token::{RefreshToken, TokenSet};

/// A future that a source hands out. It owns what it needs, so that no caller's end cancels it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A way to obtain tokens for one account.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Tells whether tokens can be had with neither a person nor a refresh token.
    fn attendance(&self) -> Attendance;

    /// Obtains tokens without a person. Bounded in time by itself.
    fn renew(&self, refresh: Option<RefreshToken>) -> Pending<Result<TokenSet, Failure>>;

    /// Starts asking a person. Bounded in time by itself.
    fn begin_login(&self) -> Pending<Result<Login, Failure>>;

    /// Asks the issuer to take tokens back (RFC 7009). Bounded in time by itself.
    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>>;
}

/// Whether a person is needed when there is no refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Tokens can be had at any time.
    Unattended,
    /// A person must log in first.
    Person,
}

/// A login that waits for a person.
pub struct Login {
    /// What they should do.
    pub prompt: Prompt,
    /// When the issuer stops waiting.
    pub until: Moment,
    /// Ends when they have answered, or at `until`.
    pub outcome: Pending<Result<TokenSet, Failure>>,
}

/// What a person should do.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Enter a code on a page, on any device (RFC 8628 §3.3).
    EnterCode {
        /// The page.
        verification_uri: Url,
        /// The page with the code in it.
        verification_uri_complete: Option<Url>,
        /// The code.
        user_code: String,
    },
}

/// What the issuer did about a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It took the tokens back.
    Yes,
    /// It cannot: it has no revocation endpoint, or none for tokens of this type.
    Unsupported,
}
