//! Locking keyfob: what holds the accounts forgets them, until it is unlocked.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest passphrase, in bytes: longer than anybody types, and short enough to be hashed in no time.
pub const LONGEST_PASSPHRASE: usize = 1024;

/// The body of `POST /v1/lock` and of `POST /v1/unlock`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// What unlocking takes; absent where it takes nothing. It is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

impl fmt::Debug for LockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockRequest").finish_non_exhaustive()
    }
}

/// The answer of `GET /v1/lock`, of `POST /v1/lock` and of `POST /v1/unlock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Whether keyfob is locked.
    pub state: LockState,
    /// Whether unlocking takes a passphrase.
    #[serde(default)]
    pub takes_passphrase: bool,
}

/// Whether keyfob is locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    /// It hands out tokens.
    #[default]
    Open,
    /// It holds no secret, and hands out nothing.
    Locked,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_this_json_and_its_debug_form_has_no_passphrase() {
        let request = LockRequest { passphrase: Some("CANARY".to_owned()) };
        assert!(!format!("{request:?}").contains("CANARY"));
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"passphrase":"CANARY"}"#);
        assert_eq!(serde_json::to_string(&LockRequest::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<LockRequest>("{}").unwrap().passphrase.is_none());
        assert!(
            serde_json::from_str::<LockRequest>(r#"{"pasphrase":"x"}"#).is_err(),
            "it would lock without one"
        );
    }

    #[test]
    fn a_status_is_this_json_and_a_state_from_a_newer_daemon_is_no_error() {
        let status = LockStatus { state: LockState::Locked, takes_passphrase: true };
        let json = r#"{"state":"locked","takes_passphrase":true}"#;
        assert_eq!(serde_json::to_string(&status).unwrap(), json);
        assert_eq!(serde_json::from_str::<LockStatus>(json).unwrap(), status);
        let newer: LockStatus = serde_json::from_str(r#"{"state":"ajar"}"#).unwrap();
        assert_eq!(newer.state, LockState::Unknown);
    }
}
