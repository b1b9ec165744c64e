//! The answer to the one question that matters, and how it is asked.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;
use crate::error::ErrorBody;

/// The query of `GET /v1/accounts/{a}/token`.
///
/// `scope` and `resource` can come several times, `scope` can also be a space-separated list. What is left out is as the
/// account has it. A parameter that is not in here is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenQuery {
    /// `scope`: what the token should be good for. Each value must be among those that were granted at the login.
    pub scope: Vec<String>,
    /// `audience`: for whom, where the issuer knows that parameter.
    pub audience: Option<String>,
    /// `resource`: for which servers (RFC 8707), each an absolute URI without a fragment.
    pub resource: Vec<String>,
    /// `kind`: which token.
    pub kind: TokenKind,
    /// How many seconds the token must live on, at least. Where a renewal cannot give that much, the best token there
    /// is comes back with its true lifetime. The daemon's default is [`DEFAULT_MIN_TTL`], less for short-lived tokens.
    pub min_ttl: Option<u64>,
    /// How many seconds the caller is ready to wait for a renewal; [`DEFAULT_WAIT`] if absent.
    pub wait: Option<u64>,
}

/// A kind of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// `access`: the access token.
    #[default]
    Access,
    /// `id`: the ID token (OpenID Connect Core §2), for servers that take one as bearer token.
    Id,
    /// A kind that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// Seconds of life that a token has at least, where the caller asks for nothing else: one request of a slow client.
pub const DEFAULT_MIN_TTL: u64 = 10;

/// Seconds that a caller waits for a renewal, where it asks for nothing else: half of what the shim allows itself.
pub const DEFAULT_WAIT: u64 = 10;

/// Seconds that a caller can wait at most: longer than any one exchange with an issuer takes.
pub const MAX_WAIT: u64 = 60;

/// A token and what a client needs to use it.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The account that it belongs to.
    pub account: AccountName,
    /// The token: whatever was asked for, to be sent as it is. For `kind=id` this is the ID token, so that a client reads
    /// the same members whichever it wants.
    pub access_token: String,
    /// What it is.
    #[serde(default)]
    pub kind: TokenKind,
    /// Always `Bearer` today (RFC 6750).
    pub token_type: String,
    /// What was granted, space-separated; absent where the issuer did not say and nothing was asked.
    pub scope: Option<String>,
    /// When it expires; absent where the issuer did not say.
    pub expires_at: Option<Timestamp>,
    /// The same in seconds from now.
    pub expires_in: Option<u64>,
    /// The header that carries it.
    pub header: Header,
    /// Why the token is not as fresh as asked for, where it is not.
    pub stale: Option<ErrorBody>,
}

/// An HTTP header or gRPC metadata entry that carries a token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Header {
    /// Its name, lower case: `authorization` unless the account's server wants another.
    pub name: String,
    /// Its value, with the token in it.
    pub value: String,
}

/// The body of `POST /v1/accounts/{a}/token/rejected`: a server refused this token although it has not expired. The query
/// says which token of the account it is, as for asking for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedToken {
    /// The SHA-256 of the token, in hexadecimal: who does not have the token cannot have it renewed.
    pub sha256: String,
}

/// The answer to a [`RejectedToken`]. The token is to be asked for again, if it is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionReport {
    /// The account.
    pub account: AccountName,
    /// What became of it.
    pub outcome: RejectionOutcome,
    /// Why the token is still the same, in words.
    pub reason: Option<String>,
}

/// What became of a token that a server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionOutcome {
    /// There is a new one, obtained because of this.
    Renewed,
    /// There was a newer one already.
    Superseded,
    /// It is still the same: it could not be renewed, or the one before was refused as well a moment ago.
    Unchanged,
    /// An outcome that this reader does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("account", &self.account)
            .field("scope", &self.scope)
            .field("expires_at", &self.expires_at)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"account":"prod","access_token":"CANARY-1","token_type":"Bearer","scope":"all",
        "expires_at":"2026-11-21T12:00:00Z","expires_in":60,
        "header":{"name":"authorization","value":"Bearer CANARY-1"},"stale":null,"added_later":true}"#;

    #[test]
    fn an_answer_is_read_with_members_that_came_later() {
        let token: TokenResponse = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(token.access_token, "CANARY-1");
        assert_eq!(token.expires_at, Some("2026-11-21T12:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_debug_form_does_not_hold_the_token() {
        let token: TokenResponse = serde_json::from_str(ANSWER).unwrap();
        assert!(!format!("{token:?} {:?}", token.header).contains("CANARY"));
    }
}
