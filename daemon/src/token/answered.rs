//! An issuer's answer to a renewal, as it came: what goes to disk before anybody reads it.
//!
//! It may be all that there is of a new refresh token, so it is kept until the tokens in it are. The thing to get wrong:
//! a later daemon must be able to read it as this one would have, so all that it is read by is beside it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Moment;
use crate::token::Scope;

/// A whole answer of a token endpoint, and what it is read by.
#[derive(Clone)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// How long the issuer asked us to wait (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// The origin that a redirect points to.
    pub redirect: Option<String>,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
    /// What it is read by.
    pub terms: Terms,
}

/// What an answer is read by: what was known when the request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When the request was sent: lifetimes are counted from here.
    pub sent_at: Moment,
    /// Whether it was made for the account's own target.
    pub purpose: Purpose,
    /// The origin of the token endpoint.
    pub origin: String,
    /// What is granted where the answer does not say (RFC 6749 §5.1).
    pub scope: Scope,
    /// The issuer identifier, where it is known.
    pub issuer: Option<String>,
    /// The client that asked.
    pub client_id: String,
    /// The header in which the resource server wants the access token; absent means `authorization`.
    pub header: Option<String>,
}

/// For whom a renewal was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// For the account's own target: its tokens are the ones that the account holds.
    Own,
    /// For another target: of its tokens the refresh token alone outlives the daemon.
    Other,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("status", &self.status).finish_non_exhaustive()
    }
}
