//! Accounts as they travel: a name, and what the daemon says about it.
//!
//! An account's state and its renewal are separate members, as they are in the daemon: an account whose renewal fails
//! still serves its token until that token expires.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::daemon::StoreStatus;
use crate::error::ErrorBody;
use crate::lock::LockStatus;
use crate::login::LoginState;

/// The name of an account: 1 to 64 characters of `[A-Za-z0-9_.-]`, the first of them a letter or a digit.
///
/// Such a name is safe as a file name, as a URL path segment and in a terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

impl AccountName {
    /// The longest name: with its suffixes it stays far below the 255 bytes of a file name.
    pub const MAX_LENGTH: usize = 64;

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no account name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no account name: use 1 to 64 letters, digits, '_', '.' or '-', and begin with a letter or a digit"
)]
pub struct InvalidAccountName(String);

impl FromStr for AccountName {
    type Err = InvalidAccountName;

    fn from_str(text: &str) -> Result<Self, InvalidAccountName> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if starts_well && text.len() <= Self::MAX_LENGTH && text.chars().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAccountName(text.chars().take(Self::MAX_LENGTH).collect()))
        }
    }
}

impl TryFrom<String> for AccountName {
    type Error = InvalidAccountName;

    fn try_from(text: String) -> Result<Self, InvalidAccountName> {
        text.parse()
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The answer of `GET /v1/accounts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountList {
    /// Every configured account, by name.
    pub accounts: Vec<AccountStatus>,
    /// The account that [`crate::DEFAULT_ACCOUNT`] stands for.
    pub default_account: Option<AccountName>,
    /// Where the tokens rest.
    pub store: StoreStatus,
    /// Whether keyfob is locked.
    #[serde(default)]
    pub lock: LockStatus,
}

/// What the daemon says about one account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Its name in the configuration.
    pub name: AccountName,
    /// How its tokens are obtained.
    pub grant: GrantKind,
    /// The issuer, or the token endpoint where the configuration names no issuer, or the program that prints the tokens.
    pub issuer: String,
    /// What the daemon holds.
    pub state: AccountState,
    /// The access token, where there is one that has not expired.
    pub access_token: Option<AccessTokenStatus>,
    /// How the renewal of the access token goes.
    pub renewal: RenewalStatus,
    /// Whether what the daemon holds would survive its end.
    pub persistence: Persistence,
    /// What keeps it from the disk and what to do about it, in words, where it should be there and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_note: Option<String>,
    /// How the latest login goes or went.
    pub login: LoginState,
    /// The latest failure that no success has followed.
    pub last_error: Option<LastError>,
    /// How many outcomes of renewals were dropped, since the daemon started, because something overtook them: a login, a
    /// logout, other settings.
    #[serde(default)]
    pub dropped: u64,
    /// Settings that weaken this account's protection, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The grants by which an account's tokens are obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// RFC 6749 §4.1 with RFC 7636.
    AuthorizationCode,
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// An external program prints the token.
    Command,
    /// A grant that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// What the daemon holds for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Tokens: an access token that works, or the means to obtain one without a person.
    SignedIn,
    /// Nothing, and nobody has signed in yet.
    SignedOut,
    /// Nothing: the user logged out.
    LoggedOut,
    /// Nothing that works: the issuer refused the refresh token (`invalid_grant`).
    Refused,
    /// Nothing that works: the answer to a renewal got lost on the way, and with it the refresh token that it brought.
    AmbiguousRotation,
    /// Unknown until the store is unlocked.
    Locked,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The access token's times. The token itself is not part of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenStatus {
    /// When the request that obtained it was sent.
    pub issued_at: Timestamp,
    /// When it expires; absent where the issuer did not say.
    pub expires_at: Option<Timestamp>,
}

/// How the renewal of an access token goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RenewalStatus {
    /// It will be renewed by itself.
    Due {
        /// When.
        at: Timestamp,
        /// Failed attempts in a row so far.
        failures: u32,
    },
    /// It is renewed when somebody asks for a token.
    OnDemand {
        /// Failed attempts in a row so far.
        failures: u32,
    },
    /// A renewal is under way.
    InFlight,
    /// It cannot be renewed without a person.
    Impossible,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// Whether what the daemon holds would survive its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// It is on disk.
    Durable,
    /// It is in memory alone: the store could not be written, or is kept in memory by configuration.
    Volatile,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// A failure and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// What, in the words that a client would get.
    #[serde(flatten)]
    pub error: ErrorBody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_file_name_and_as_a_path_segment() {
        for good in ["prod", "a", "Corp-2.eu_west", &"x".repeat(64)] {
            assert_eq!(good.parse::<AccountName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".hidden", "-flag", "a/b", "a b", "~", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_bad_name_inside_json_is_refused() {
        assert!(serde_json::from_str::<AccountName>(r#""../etc""#).is_err());
    }

    #[test]
    fn a_status_from_a_newer_daemon_is_still_read() {
        let status: AccountStatus = serde_json::from_str(
            r#"{"name":"prod","grant":"quantum","issuer":"https://i","state":"entangled","access_token":null,
                "renewal":{"state":"soon","colour":"red"},"persistence":"engraved","login":{"state":"dreaming"},
                "last_error":null,"later":1}"#,
        )
        .unwrap();
        assert_eq!(status.grant, GrantKind::Unknown);
        assert_eq!(status.state, AccountState::Unknown);
        assert_eq!(status.renewal, RenewalStatus::Unknown);
        assert_eq!(status.persistence, Persistence::Unknown);
        assert_eq!(status.persistence_note, None);
        assert_eq!(status.login, LoginState::Unknown);
    }
}
