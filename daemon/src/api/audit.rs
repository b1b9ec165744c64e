//! `GET /v1/audit`: who was given a token lately, and who was not. The latest in memory, and in the log.
//!
//! The thing to get wrong: it is read by more eyes than the tokens are meant for. What tells tokens apart here is the
//! beginning of a hash, and names of programs and units are made harmless before they get in. The other one: a program that
//! asks a thousand times a second must not push out what the others did. So the same again is counted, not listed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use keyfob_protocol::account::AccountName;
use keyfob_protocol::audit::{
    AuditEntry, AuditLog, AuditOutcome, AuditQuery, DEFAULT_LISTED, MAX_REMEMBERED,
};

use super::Api;
use super::error::{ApiError, bad_request};
use crate::account::policy::Asker;
use crate::clock::{Moment, Now};
use crate::token::need::TokenKind;
use crate::token::{Scope, TokenHash};

/// How long the log is silent about the same again; the next time after that it says how often it was. Journald drops lines of a
/// service that writes 10,000 in 30 s.
const AGAIN: Duration = Duration::from_secs(60);

/// The latest requests for tokens.
#[derive(Debug, Default)]
pub struct Audit(Mutex<VecDeque<Note>>);

/// A token that goes out: who gets it, and which one it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Issue<'a> {
    pub(super) account: &'a AccountName,
    pub(super) asker: &'a Asker,
    pub(super) token: Token<'a>,
}

/// A token, and what it is good for: some issuers give the same again for something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) hash: TokenHash,
    pub(super) scope: &'a Scope,
}

/// What is remembered of a request.
#[derive(Debug)]
struct Note {
    entry: Box<AuditEntry>,
    asker: Asker,
    /// What was issued; absent where nothing was.
    issued: Option<(TokenKind, TokenHash, Scope)>,
    /// When the log said it last.
    said_at: Moment,
}

impl Audit {
    /// Takes down that a token goes out. The entry is made only where it is not the same again.
    pub(super) fn issued(&self, issue: Issue<'_>, now: Now, entry: impl FnOnce() -> AuditEntry) {
        let Issue { account, asker, token: Token { kind, hash, scope } } = issue;
        let is_token = |note: &Note| {
            note.issued.as_ref().is_some_and(|issued| (issued.0, issued.1, &issued.2) == (kind, hash, scope))
        };
        let is_same = |note: &Note| {
            is_known(asker, note) && is_token(note) && note.entry.account == *account && note.asker == *asker
        };
        self.note(now, is_same, || (asker.clone(), Some((kind, hash, scope.clone())), entry()));
    }

    /// Takes down that a request was denied.
    pub(super) fn denied(&self, asker: &Asker, now: Now, entry: AuditEntry) {
        let is_same = |note: &Note| is_known(asker, note) && is_same(&note.entry, &entry);
        self.note(now, is_same, || (asker.clone(), None, entry.clone()));
    }

    fn note(
        &self,
        now: Now,
        is_same: impl Fn(&Note) -> bool,
        new: impl FnOnce() -> (Asker, Option<(TokenKind, TokenHash, Scope)>, AuditEntry),
    ) {
        let mut notes = self.notes();
        let known = notes.iter().rposition(is_same).and_then(|place| notes.remove(place));
        let (note, is_due) = match known {
            Some(mut note) => {
                let is_due = note.again(now);
                (note, is_due)
            }
            None => {
                if notes.len() >= MAX_REMEMBERED {
                    notes.pop_front();
                }
                let (asker, issued, entry) = new();
                (Note { entry: Box::new(entry), asker, issued, said_at: now.moment }, true)
            }
        };
        let due = is_due.then(|| note.entry.clone());
        notes.push_back(note);
        drop(notes);
        if let Some(entry) = due {
            say(&entry);
        }
    }

    /// Returns the latest, the oldest of them first.
    fn latest(&self, query: &AuditQuery) -> Vec<AuditEntry> {
        let is_meant =
            |entry: &&AuditEntry| query.account.as_ref().is_none_or(|account| entry.account == *account);
        let limit = query.limit.unwrap_or(DEFAULT_LISTED);
        let notes = self.notes();
        let entries = notes.iter().rev().map(|note| &*note.entry);
        let mut latest: Vec<_> = entries.filter(is_meant).take(limit).cloned().collect();
        latest.reverse();
        latest
    }

    /// The lock is held for the time of one look or note.
    fn notes(&self) -> MutexGuard<'_, VecDeque<Note>> {
        // A note is there or not, whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Note {
    /// Counts it once more, and tells whether the log is to say so.
    fn again(&mut self, now: Now) -> bool {
        self.entry.at = now.wall;
        self.entry.times = self.entry.times.saturating_add(1);
        let is_due = now.moment.since(self.said_at) >= AGAIN;
        if is_due {
            self.said_at = now.moment;
        }
        is_due
    }
}

/// Tells whether it may be the same process. Those of other pid namespaces cannot be told apart.
fn is_known(asker: &Asker, note: &Note) -> bool {
    asker.pid.is_some() && asker.pid == note.asker.pid
}

/// Tells whether two entries differ in their time alone.
fn is_same(one: &AuditEntry, other: &AuditEntry) -> bool {
    let AuditEntry {
        at: _,
        times: _,
        account,
        outcome,
        reason,
        uid,
        pid,
        program,
        unit,
        kind,
        scope,
        fingerprint,
    } = one;
    (pid, outcome, kind, uid) == (&other.pid, &other.outcome, &other.kind, &other.uid)
        && (account, program, unit) == (&other.account, &other.program, &other.unit)
        && (reason, scope, fingerprint) == (&other.reason, &other.scope, &other.fingerprint)
}

/// Writes a line to the log.
fn say(entry: &AuditEntry) {
    let AuditEntry { account, reason, uid, pid, program, unit, scope, fingerprint, times, .. } = entry;
    let what = match entry.outcome {
        AuditOutcome::Issued => "a token was issued",
        AuditOutcome::Denied | AuditOutcome::Unknown => "a token was denied",
    };
    let (unit, scope, times) = (unit.as_deref(), scope.as_deref(), (*times > 1).then_some(times));
    let (reason, token) = (reason.as_deref(), fingerprint.as_deref());
    tracing::info!(target: "audit", %account, uid, pid, program, unit, scope, reason, token, kind = ?entry.kind, times, "{what}");
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
    use keyfob_protocol::token::TokenKind as Kind;

    use super::*;
    use crate::account::policy::Program;
    use crate::clock::Clock;

    fn asker(pid: i32) -> Asker {
        Asker { pid: Some(pid), program: Program::File("/usr/bin/git".into()), unit: None }
    }

    fn entry(account: &str, pid: i32, now: Now) -> AuditEntry {
        AuditEntry {
            at: now.wall,
            times: 1,
            account: account.parse().unwrap(),
            outcome: AuditOutcome::Issued,
            reason: None,
            uid: 1000,
            pid: Some(pid),
            program: "/usr/bin/git".to_owned(),
            unit: None,
            kind: Kind::Access,
            scope: None,
            fingerprint: Some("ba7816bf8f01cfea".to_owned()),
        }
    }

    /// Takes down that a process got a token.
    fn issue(audit: &Audit, account: &str, pid: i32, token: &str, now: Now) {
        let (name, asker) = (account.parse().unwrap(), asker(pid));
        let token = Token { kind: TokenKind::Access, hash: TokenHash::of(token), scope: &Scope::default() };
        audit.issued(Issue { account: &name, asker: &asker, token }, now, || entry(account, pid, now));
    }

    fn deny(audit: &Audit, pid: i32, reason: &str, now: Now) {
        let reason = Some(reason.to_owned());
        let entry = AuditEntry {
            outcome: AuditOutcome::Denied,
            reason,
            fingerprint: None,
            ..entry("prod", pid, now)
        };
        audit.denied(&asker(pid), now, entry);
    }

    fn pids(audit: &Audit, limit: Option<usize>, account: Option<&str>) -> Vec<i32> {
        let account = account.map(|name| name.parse().unwrap());
        audit.latest(&AuditQuery { limit, account }).into_iter().filter_map(|entry| entry.pid).collect()
    }

    fn times(audit: &Audit) -> Vec<u64> {
        audit.latest(&AuditQuery::default()).into_iter().map(|entry| entry.times).collect()
    }

    fn now() -> Now {
        Clock::system().now()
    }

    #[test]
    fn the_latest_are_listed_the_oldest_of_them_first() {
        let audit = Audit::default();
        for pid in 0..6 {
            issue(&audit, if pid % 2 == 0 { "prod" } else { "ci" }, pid, "a", now());
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
            issue(&audit, "prod", i32::try_from(pid).unwrap(), "a", now());
        }
        let all = pids(&audit, Some(usize::MAX), None);
        assert_eq!((all.len(), all[0]), (MAX_REMEMBERED, i32::try_from(beyond).unwrap()));
    }

    #[test]
    fn a_program_that_asks_all_the_time_pushes_nobody_out() {
        let audit = Audit::default();
        let begin = now();
        issue(&audit, "prod", 1, "a", begin);
        let last = Now { moment: begin.moment.after(Duration::from_secs(9)), ..now() };
        for _ in 0..2 * MAX_REMEMBERED {
            issue(&audit, "prod", 2, "a", last);
        }
        issue(&audit, "prod", 1, "a", begin);
        assert_eq!(pids(&audit, None, None), [2, 1], "the latest is the last");
        assert_eq!(times(&audit), [2 * MAX_REMEMBERED as u64, 2]);
        assert_eq!(audit.latest(&AuditQuery::default())[0].at, last.wall);
    }

    #[test]
    fn another_token_process_account_or_outcome_is_not_the_same_again() {
        let audit = Audit::default();
        issue(&audit, "prod", 1, "a", now());
        issue(&audit, "prod", 1, "b", now());
        issue(&audit, "prod", 2, "b", now());
        issue(&audit, "ci", 2, "b", now());
        deny(&audit, 2, "no", now());
        deny(&audit, 2, "never", now());
        assert_eq!(times(&audit), [1; 6]);
        deny(&audit, 2, "no", now());
        assert_eq!(times(&audit), [1, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn another_program_kind_or_scope_is_not_the_same_again_and_who_has_no_pid_is_nobodys_double() {
        let (audit, account, all) = (Audit::default(), "prod".parse().unwrap(), Scope::parse("all"));
        let (first, hash) = (asker(1), TokenHash::of("a"));
        let exec = Asker { program: Program::File("/usr/bin/curl".into()), ..first.clone() };
        let elsewhere = Asker { unit: Some("x.service".to_owned()), ..first.clone() };
        let hidden = Asker::unseen(None);
        let access = Token { kind: TokenKind::Access, hash, scope: &Scope::default() };
        let requests = [
            (&first, access),
            (&exec, access),
            (&elsewhere, access),
            (&first, Token { kind: TokenKind::Id, ..access }),
            (&first, Token { scope: &all, ..access }),
            (&hidden, access),
            (&hidden, access),
        ];
        for (asker, token) in requests {
            let issue = Issue { account: &account, asker, token };
            audit.issued(issue, now(), || AuditEntry { pid: asker.pid, ..entry("prod", 1, now()) });
        }
        let denied = AuditEntry { outcome: AuditOutcome::Denied, pid: None, ..entry("prod", 1, now()) };
        audit.denied(&hidden, now(), denied.clone());
        audit.denied(&hidden, now(), denied);
        assert_eq!(times(&audit), [1; 9]);
    }

    #[test]
    fn the_log_says_once_in_a_while_that_the_same_goes_on() {
        let begin = now();
        let entry = Box::new(entry("prod", 1, begin));
        let mut note = Note { entry, asker: asker(1), issued: None, said_at: begin.moment };
        let mut is_said = |time| note.again(Now { moment: begin.moment.after(time), ..begin });
        let half = AGAIN / 2;
        let said = [Duration::ZERO, half, AGAIN, AGAIN + half, AGAIN * 2].map(&mut is_said);
        assert_eq!(said, [false, false, true, false, true]);
        assert_eq!(note.entry.times, 6);
    }
}
