//! A login as it is shown to a person: what to do, and how far it has come.
//!
//! There is at most one login per account. Whoever asks while one is pending joins it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;
use crate::error::ErrorBody;

/// The answer of every login path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginStatus {
    /// The account.
    pub account: AccountName,
    /// Grows by one with every change of `login`; a long poll waits until it exceeds `after`.
    pub revision: u64,
    /// How far the latest login has come.
    pub login: LoginState,
    /// What whoever has signed in should know, in words: that it will not last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// How far the latest login of an account has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LoginState {
    /// None has been asked for since the daemon started.
    Idle,
    /// The issuer is being asked for a way to log in.
    Starting,
    /// A person is expected to act.
    Asking {
        /// What they should do.
        prompt: LoginPrompt,
        /// When the issuer stops waiting.
        expires_at: Timestamp,
    },
    /// The person has answered; the tokens are being fetched and stored.
    Exchanging,
    /// It succeeded.
    SignedIn,
    /// It failed.
    Failed {
        /// Why.
        error: ErrorBody,
    },
    /// It was cancelled.
    Cancelled,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

impl LoginState {
    /// Tells whether something is still going to happen.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Starting | Self::Asking { .. } | Self::Exchanging => true,
            Self::Idle | Self::SignedIn | Self::Failed { .. } | Self::Cancelled | Self::Unknown => false,
        }
    }
}

/// What a person should do to log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LoginPrompt {
    /// Visit a page on any device and enter a code there (RFC 8628 §3.3).
    EnterCode {
        /// The page.
        verification_uri: String,
        /// The page with the code in it; the code is shown all the same (RFC 8628 §3.3.1).
        verification_uri_complete: Option<String>,
        /// The code.
        user_code: String,
    },
    /// Visit a page on this machine.
    Visit {
        /// The page.
        url: String,
    },
    /// A prompt that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The query of `POST /v1/accounts/{a}/login`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginStart {
    /// In which way; absent means the way of the account's grant.
    pub flow: Option<LoginFlow>,
}

/// A way to log in that a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFlow {
    /// By a code that is entered on any device (RFC 8628).
    DeviceCode,
}

/// The body of `POST /v1/accounts/{a}/login/redirect`: what a person brings by hand whose browser is elsewhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PastedRedirect {
    /// The URL that the browser was sent to. It holds the authorization code.
    pub url: String,
}

impl fmt::Debug for PastedRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PastedRedirect").finish_non_exhaustive()
    }
}

/// The query of `GET /v1/accounts/{a}/login`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginQuery {
    /// Answer as soon as the revision exceeds this one; at once if absent.
    pub after: Option<u64>,
    /// How many seconds to wait for that, [`MAX_POLL_WAIT`] at most.
    pub wait: Option<u64>,
}

/// Seconds that one long poll lasts at most.
pub const MAX_POLL_WAIT: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_prompt_has_the_names_of_rfc_8628() {
        let status: LoginStatus = serde_json::from_str(
            r#"{"account":"corp","revision":3,"login":{"state":"asking","expires_at":"2026-11-21T12:00:00Z",
                "prompt":{"kind":"enter_code","verification_uri":"https://i/device",
                "verification_uri_complete":null,"user_code":"WDJB-MJHT"}}}"#,
        )
        .unwrap();
        assert!(status.login.is_pending());
        let LoginState::Asking { prompt: LoginPrompt::EnterCode { user_code, .. }, .. } = status.login else {
            panic!("not a device prompt");
        };
        assert_eq!(user_code, "WDJB-MJHT");
    }

    #[test]
    fn the_debug_form_of_a_paste_does_not_hold_the_code() {
        let paste = PastedRedirect { url: "http://127.0.0.1/callback?code=CANARY".to_owned() };
        assert!(!format!("{paste:?}").contains("CANARY"));
    }

    #[test]
    fn a_prompt_from_a_newer_daemon_is_unknown_not_an_error() {
        let prompt: LoginPrompt = serde_json::from_str(r#"{"kind":"wave_at_camera","url":"x"}"#).unwrap();
        assert_eq!(prompt, LoginPrompt::Unknown);
    }
}
