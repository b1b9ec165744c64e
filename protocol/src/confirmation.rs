//! Programs that wait until a person agrees to their having a token, and the person's answer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::AccountName;

/// Seconds for which an answer holds, where the person says nothing else: a working day.
pub const DEFAULT_HELD: u64 = 8 * 3600;

/// Seconds for which an answer holds at most: a week. What is meant for longer belongs into the configuration.
pub const MAX_HELD: u64 = 7 * 24 * 3600;

/// The answer of `GET /v1/confirmations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationList {
    /// Every question that waits for an answer, the oldest first.
    pub confirmations: Vec<Confirmation>,
}

/// A question that waits for an answer: may this program have tokens of this account?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Its number.
    pub id: u64,
    /// The account.
    pub account: AccountName,
    /// The program; in parentheses what it calls itself, where nothing else is known.
    pub program: String,
    /// The process that asked first, where it is known.
    pub pid: Option<i32>,
    /// The systemd unit that it asks from.
    pub unit: Option<String>,
    /// What it asked for beyond what the account says, each time in its own words.
    pub wanted: Vec<String>,
    /// When it asked first.
    pub asked_at: Timestamp,
}

/// The body of `POST /v1/confirmations/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmationAnswer {
    /// The answer.
    pub answer: Answer,
    /// For how many seconds it holds, up to [`MAX_HELD`], also for what the program asks next; 0 is for those alone that
    /// wait now, and [`DEFAULT_HELD`] is meant if it is absent.
    pub for_seconds: Option<u64>,
}

/// What a person answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmationReport {
    /// The question, as it was.
    pub confirmation: Confirmation,
    /// Until when the answer holds; absent where it is for those alone that waited.
    pub until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_this_json_and_nothing_beside_it() {
        let read = |text| serde_json::from_str::<ConfirmationAnswer>(text);
        let answer = read(r#"{"answer":"allow","for_seconds":60}"#).unwrap();
        assert_eq!(answer, ConfirmationAnswer { answer: Answer::Allow, for_seconds: Some(60) });
        assert_eq!(read(r#"{"answer":"deny"}"#).unwrap().for_seconds, None);
        // An answer that is misread must not be one.
        for bad in [r#"{"answer":"maybe"}"#, r#"{}"#, r#"{"answer":"allow","forever":true}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
