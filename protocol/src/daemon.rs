//! What the daemon says about itself: its version, its store, and what a reload changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;

/// The answer of `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// Its process id, as the daemon sees it.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
}

/// Where the tokens rest, and whether they can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Where the store's key is kept.
    pub key: KeyKind,
    /// Whether the store can be used.
    pub state: StoreState,
    /// What a person should know about it, such as that the key lies in a plain file.
    pub note: Option<String>,
}

/// Where the store's one key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The Secret Service of the desktop.
    Keyring,
    /// A systemd credential.
    Credential,
    /// A file that only its owner can read.
    File,
    /// Nowhere: the tokens end with the daemon.
    Memory,
    /// A place that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// Whether the store can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// Its key is at hand.
    Open,
    /// Its key cannot be read until the user unlocks the keyring.
    Locked,
    /// A state that this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The answer of `POST /v1/reload`: what became of each account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// New accounts.
    pub added: Vec<AccountName>,
    /// Accounts whose tokens are bound to other settings now: what they held is not used any more.
    pub changed: Vec<AccountName>,
    /// Accounts that kept their tokens.
    pub kept: Vec<AccountName>,
    /// Accounts that are gone from the configuration.
    pub removed: Vec<AccountName>,
}

/// The answer of `DELETE /v1/accounts/{a}/session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutReport {
    /// The account.
    pub account: AccountName,
    /// Whether the issuer took the tokens back.
    pub revocation: Revocation,
    /// Why it did not, where it did not.
    pub reason: Option<String>,
}

/// What became of the tokens at the issuer (RFC 7009).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// The issuer revoked them.
    Revoked,
    /// The issuer has no revocation endpoint.
    Unsupported,
    /// The issuer could not be asked: the tokens may live there until they expire.
    Failed,
    /// There was nothing to revoke.
    NothingHeld,
    /// An outcome that this reader does not know.
    #[serde(other)]
    Unknown,
}
