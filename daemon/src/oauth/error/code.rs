//! The codes of OAuth errors.
//!
//! The thing to get wrong: the list is open. A code that nobody here knows stays what it is, and means nothing.

/// The error codes that we know (RFC 6749 §4.1.2.1 and §5.2, RFC 8628 §3.5, RFC 7009 §2.2.1, RFC 8707 §2, RFC 9449
/// §5 and §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    AuthorizationPending,
    SlowDown,
    AccessDenied,
    ExpiredToken,
    UnsupportedTokenType,
    UnsupportedResponseType,
    InvalidTarget,
    ServerError,
    TemporarilyUnavailable,
    UseDpopNonce,
    InvalidDpopProof,
    /// Any other.
    Other(String),
}

impl Code {
    const KNOWN: [Self; 17] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::AccessDenied,
        Self::ExpiredToken,
        Self::UnsupportedTokenType,
        Self::UnsupportedResponseType,
        Self::InvalidTarget,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::UseDpopNonce,
        Self::InvalidDpopProof,
    ];

    /// Returns the code as it is sent.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidTarget => "invalid_target",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::Other(code) => code,
        }
    }
}

impl From<String> for Code {
    fn from(code: String) -> Self {
        Self::KNOWN.into_iter().find(|known| known.as_str() == code).unwrap_or(Self::Other(code))
    }
}
