//! Who was given a token, and who was not: what the daemon remembers of the latest requests.
//!
//! A token is told by the beginning of its SHA-256, which tells it from others and is of no use to whoever sees it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;
use crate::token::TokenKind;

/// Requests that the daemon remembers: a working day of a few tools, mostly in less than a mebibyte.
pub const MAX_REMEMBERED: usize = 1000;

/// Requests that an answer lists, where nobody says how many.
pub const DEFAULT_LISTED: usize = 20;

/// The query of `GET /v1/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// How many at most; [`DEFAULT_LISTED`] if absent.
    pub limit: Option<usize>,
    /// Of which account; of all if absent.
    pub account: Option<AccountName>,
}

/// The answer of `GET /v1/audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLog {
    /// The latest requests for tokens, the oldest of them first.
    pub entries: Vec<AuditEntry>,
}

/// A request for a token that was granted or denied, and the same again by the same process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When it was answered last.
    pub at: Timestamp,
    /// How often it was answered so: the same token, or the same denial.
    #[serde(default = "once")]
    pub times: u64,
    /// The account.
    pub account: AccountName,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Why it was denied, in words.
    pub reason: Option<String>,
    /// The user that asked.
    pub uid: u32,
    /// The process that the token is for, where it is known: who runs the shim, or else who asked.
    pub pid: Option<i32>,
    /// The program that it runs; in parentheses what it calls itself, where nothing else is known.
    pub program: String,
    /// The systemd unit that the request came from.
    pub unit: Option<String>,
    /// Which token.
    pub kind: TokenKind,
    /// What it is good for, or what was asked for; absent where nobody said.
    pub scope: Option<String>,
    /// The first 16 hexadecimal digits of the SHA-256 of the token that was given.
    pub fingerprint: Option<String>,
}

/// What a daemon means that does not count.
fn once() -> u64 {
    1
}

/// What came of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It got one.
    Issued,
    /// The account's policy is against it.
    Denied,
    /// An outcome that this reader does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_newer_daemon_is_still_read() {
        let log: AuditLog = serde_json::from_str(
            r#"{"later":1,"entries":[{"at":"2026-11-21T12:00:00Z","account":"prod","outcome":"postponed","reason":null,
                "uid":1000,"pid":7,"program":"/usr/bin/git","unit":null,"kind":"access","scope":"all",
                "fingerprint":"ba7816bf8f01cfea","colour":"red"}]}"#,
        )
        .unwrap();
        assert_eq!(log.entries[0].outcome, AuditOutcome::Unknown);
        assert_eq!(log.entries[0].times, 1);
        assert_eq!(log.entries[0].fingerprint.as_deref(), Some("ba7816bf8f01cfea"));
    }
}
