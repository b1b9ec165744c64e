//! The answer to the one question that matters, and how it is asked.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;
use crate::error::ErrorBody;

/// The query of `GET /v1/accounts/{a}/token`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenQuery {
    /// How many seconds the token must live on, at least. Where a renewal cannot give that much, the best token there
    /// is comes back with its true lifetime. The daemon's default is [`DEFAULT_MIN_TTL`], less for short-lived tokens.
    pub min_ttl: Option<u64>,
    /// How many seconds the caller is ready to wait for a renewal; [`DEFAULT_WAIT`] if absent.
    pub wait: Option<u64>,
}

/// Seconds of life that a token has at least, where the caller asks for nothing else: one request of a slow client.
pub const DEFAULT_MIN_TTL: u64 = 10;

/// Seconds that a caller waits for a renewal, where it asks for nothing else: half of what the shim allows itself.
pub const DEFAULT_WAIT: u64 = 10;

/// Seconds that a caller can wait at most: longer than any one exchange with an issuer takes.
pub const MAX_WAIT: u64 = 60;

/// An access token and what a client needs to use it.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The account that it belongs to.
    pub account: AccountName,
    /// The token.
    pub access_token: String,
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
