//! `GET /v1/audit`: who was given a token lately, and who was not. A line each in the log, and the latest in memory.
//!
//! The thing to get wrong: it is read by more eyes than the tokens are meant for. What tells tokens apart here is the
//! beginning of a hash, and names of programs and units are made harmless before they get in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use keyfob_protocol::audit::{
    AuditEntry, AuditLog, AuditOutcome, AuditQuery, DEFAULT_LISTED, MAX_REMEMBERED,
};

use super::Api;
use super::error::{ApiError, bad_request};

/// The latest requests for tokens.
#[derive(Debug, Default)]
pub struct Audit(Mutex<VecDeque<AuditEntry>>);

impl Audit {
    /// Takes a request down.
    pub(super) fn note(&self, entry: AuditEntry) {
        let AuditEntry { account, reason, uid, pid, program, unit, scope, fingerprint, .. } = &entry;
        let what = match entry.outcome {
            AuditOutcome::Issued => "a token was issued",
            AuditOutcome::Denied | AuditOutcome::Unknown => "a token was denied",
        };
        let (unit, scope) = (unit.as_deref(), scope.as_deref());
        let (reason, token) = (reason.as_deref(), fingerprint.as_deref());
        tracing::info!(target: "audit", %account, uid, pid, program, unit, scope, reason, token, kind = ?entry.kind, "{what}");
        let mut entries = self.entries();
        if entries.len() >= MAX_REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Returns the latest, the oldest of them first.
    fn latest(&self, query: &AuditQuery) -> Vec<AuditEntry> {
        let is_meant =
            |entry: &&AuditEntry| query.account.as_ref().is_none_or(|account| entry.account == *account);
        let limit = query.limit.unwrap_or(DEFAULT_LISTED);
        let mut latest: Vec<_> = self.entries().iter().rev().filter(is_meant).take(limit).cloned().collect();
        latest.reverse();
        latest
    }

    /// The lock is held for the time of one look or note.
    fn entries(&self) -> MutexGuard<'_, VecDeque<AuditEntry>> {
        // An entry is there or not, whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists the latest requests for tokens.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<AuditLog>, ApiError> {
    let Query(query) = query.map_err(bad_request)?;
    Ok(Json(AuditLog { entries: api.audit.latest(&query) }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use keyfob_protocol::token::TokenKind;

    use super::*;

    fn entry(account: &str, pid: i32) -> AuditEntry {
        AuditEntry {
            at: Timestamp::UNIX_EPOCH,
            account: account.parse().unwrap(),
            outcome: AuditOutcome::Issued,
            reason: None,
            uid: 1000,
            pid: Some(pid),
            program: "/usr/bin/git".to_owned(),
            unit: None,
            kind: TokenKind::Access,
            scope: None,
            fingerprint: Some("ba7816bf8f01cfea".to_owned()),
        }
    }

    fn pids(audit: &Audit, limit: Option<usize>, account: Option<&str>) -> Vec<i32> {
        let account = account.map(|name| name.parse().unwrap());
        audit.latest(&AuditQuery { limit, account }).into_iter().filter_map(|entry| entry.pid).collect()
    }

    #[test]
    fn the_latest_are_listed_the_oldest_of_them_first() {
        let audit = Audit::default();
        for pid in 0..6 {
            audit.note(entry(if pid % 2 == 0 { "prod" } else { "ci" }, pid));
        }
        assert_eq!(pids(&audit, None, None), [0, 1, 2, 3, 4, 5]);
        assert_eq!(pids(&audit, Some(2), None), [4, 5]);
        assert_eq!(pids(&audit, Some(2), Some("prod")), [2, 4]);
        assert!(pids(&audit, Some(0), None).is_empty());
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let audit = Audit::default();
        let beyond = 5;
        for pid in 0..MAX_REMEMBERED + beyond {
            audit.note(entry("prod", i32::try_from(pid).unwrap()));
        }
        let all = pids(&audit, Some(usize::MAX), None);
        assert_eq!((all.len(), all[0]), (MAX_REMEMBERED, i32::try_from(beyond).unwrap()));
    }
}
