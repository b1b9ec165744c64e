//! Failures as they travel: a code to branch on, a sentence to read, and what to do next.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What to branch on.
    pub error: ErrorCode,
    /// One sentence for a person: lower case, no full stop, no secret, no control character.
    pub message: String,
    /// What to do next, such as the command to run.
    pub hint: Option<String>,
    /// When trying again can help.
    pub retry_at: Option<Timestamp>,
    /// One line each, where there is more than one thing wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl ErrorBody {
    /// Returns an error with a message and nothing else.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), hint: None, retry_at: None, details: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// What went wrong, by what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request itself is wrong: mend it.
    BadRequest,
    /// No account of that name: take another, or add it to the configuration.
    UnknownAccount,
    /// No such path.
    NotFound,
    /// A person must log in.
    LoginRequired,
    /// The login was refused or ran out of time: start another.
    LoginFailed,
    /// The login was not granted what is asked for (RFC 6750 §3.1): add it to the account's scopes, then log in again.
    InsufficientScope,
    /// The configuration, or the issuer's registration of this client, must be mended.
    Misconfigured,
    /// Wait until `retry_at`, then try again.
    Unavailable,
    /// The keyring that holds the store's key is locked, or keyfob is: unlock it.
    Locked,
    /// The daemon is about to exit: try again.
    ShuttingDown,
    /// Not allowed.
    Denied,
    /// A bug in the daemon.
    Internal,
    /// A code that this reader does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Returns the HTTP status that goes with the code. The code is the contract, the status a courtesy.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Denied | Self::InsufficientScope => 403,
            Self::UnknownAccount | Self::NotFound => 404,
            Self::LoginRequired | Self::LoginFailed | Self::Misconfigured => 409,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable | Self::Locked | Self::ShuttingDown => 503,
        }
    }

    /// Returns the shim's exit code for this failure.
    pub fn exit(self) -> Exit {
        match self {
            Self::BadRequest | Self::NotFound => Exit::Usage,
            Self::LoginRequired | Self::LoginFailed => Exit::LoginRequired,
            Self::Unavailable | Self::Locked | Self::ShuttingDown | Self::Internal | Self::Unknown => {
                Exit::Unavailable
            }
            Self::Denied => Exit::Denied,
            // A login alone would not help: the scopes in the configuration come first.
            Self::UnknownAccount | Self::Misconfigured | Self::InsufficientScope => Exit::Configuration,
        }
    }
}

/// The shim's exit codes, which scripts branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to.
    Success = 0,
    /// The command line is wrong.
    Usage = 2,
    /// A person must log in.
    LoginRequired = 3,
    /// Trying again later can help.
    Unavailable = 4,
    /// No daemon answers, and none could be started.
    NoDaemon = 5,
    /// Not allowed.
    Denied = 6,
    /// The configuration must be mended.
    Configuration = 7,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_this_json() {
        let error = ErrorBody::new(ErrorCode::LoginRequired, "prod is signed out")
            .with_hint("run: keyfob login prod");
        let json = r#"{"error":"login_required","message":"prod is signed out","hint":"run: keyfob login prod","retry_at":null}"#;
        assert_eq!(serde_json::to_string(&error).unwrap(), json);
        assert_eq!(serde_json::from_str::<ErrorBody>(json).unwrap(), error);
    }

    #[test]
    fn a_code_from_a_newer_daemon_is_temporary_trouble_to_the_shim() {
        let error: ErrorBody =
            serde_json::from_str(r#"{"error":"eclipse","message":"m","hint":null,"retry_at":null}"#).unwrap();
        assert_eq!(error.error, ErrorCode::Unknown);
        assert_eq!(error.error.exit(), Exit::Unavailable);
    }
}
