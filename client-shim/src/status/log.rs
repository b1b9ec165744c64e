//! `keyfob status --log`: who was given a token lately, and who was denied one.
//!
//! The thing to get wrong: a program's name is what somebody called a file, so it goes to a terminal only as harmless text.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyfob_protocol::audit::{AuditEntry, AuditLog, AuditOutcome};

use crate::arguments::status::{Form, StatusOptions};
use crate::client::{self, Client};
use crate::clock::{Deadline, now};
use crate::connection::{Method, Request};
use crate::display;
use crate::failure::Failure;
use crate::status::table::{self, Header};

/// How long the daemon may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// The columns.
const TITLES: [&str; 7] = ["WHEN", "TIMES", "ACCOUNT", "OUTCOME", "TOKEN", "PID", "PROGRAM"];

/// Returns the latest requests in the form that is asked for.
pub(super) fn report(
    options: &StatusOptions,
    limit: Option<u64>,
    client: &Client,
    header: Header,
) -> Result<String, Failure> {
    let limit = limit.map(|limit| format!("limit={limit}"));
    let account = options.account.as_ref().map(|account| format!("account={account}"));
    let query: Vec<String> = limit.into_iter().chain(account).collect();
    let request = Request::new(Method::Get, format!("/v1/audit?{}", query.join("&")));
    let answer = client.ask(&request, Deadline::after(PATIENCE))?;
    let log: AuditLog = client::read(&answer)?;
    match options.form {
        Form::Json => Ok(format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end())),
        Form::Table if log.entries.is_empty() => {
            Ok("nobody has asked for a token since keyfobd started\n".to_owned())
        }
        Form::Table => Ok(text(&log, now(), header)),
    }
}

fn text(log: &AuditLog, now: Timestamp, header: Header) -> String {
    let rows: Vec<_> = log.entries.iter().map(|entry| row(entry, now)).collect();
    let mut reasons: Vec<String> = log.entries.iter().filter_map(reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut text = table::render(TITLES, &rows, header);
    if !reasons.is_empty() {
        text.push_str(&format!("\n{}\n", reasons.join("\n")));
    }
    text
}

fn row(entry: &AuditEntry, now: Timestamp) -> [String; 7] {
    let ago = now.duration_since(entry.at).max(SignedDuration::ZERO).unsigned_abs();
    let unit = entry.unit.as_deref().map(|unit| format!(" in {}", display::text(unit))).unwrap_or_default();
    [
        format!("{} ago", display::span(ago)),
        entry.times.to_string(),
        entry.account.to_string(),
        outcome(entry.outcome).to_owned(),
        entry.fingerprint.as_deref().map_or_else(|| "-".to_owned(), display::code),
        entry.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        format!("{}{unit}", display::text(&entry.program)),
    ]
}

fn outcome(outcome: AuditOutcome) -> &'static str {
    match outcome {
        AuditOutcome::Issued => "issued",
        AuditOutcome::Denied => "denied",
        AuditOutcome::Unknown => "unknown",
    }
}

fn reason(entry: &AuditEntry) -> Option<String> {
    entry.reason.as_deref().map(|reason| format!("denied: {}", display::text(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_a_table_with_the_reasons_of_denials_below() {
        let log: AuditLog = serde_json::from_str(
            r#"{"entries":[
                {"at":"2026-11-21T11:00:00Z","times":12,"account":"prod","outcome":"issued","reason":null,"uid":0,"pid":7,
                 "program":"/usr/bin/git\u001b[2J","unit":"a.service","kind":"access","scope":null,
                 "fingerprint":"ba7816bf8f01cfea"},
                {"at":"2026-11-21T11:59:30Z","account":"ci","outcome":"denied","reason":"x may not\nhave it","uid":0,
                 "pid":null,"program":"(x)","unit":null,"kind":"id","scope":"a","fingerprint":null},
                {"at":"2026-11-21T12:00:01Z","account":"ci","outcome":"denied","reason":"x may not\nhave it","uid":0,
                 "pid":8,"program":"(x)","unit":null,"kind":"id","scope":"a","fingerprint":null}]}"#,
        )
        .unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let expected = [
            "WHEN      TIMES  ACCOUNT  OUTCOME  TOKEN             PID  PROGRAM",
            "1 h ago   12     prod     issued   ba7816bf8f01cfea  7    /usr/bin/git[2J in a.service",
            "30 s ago  1      ci       denied   -                 -    (x)",
            "0 s ago   1      ci       denied   -                 8    (x)",
            "",
            "denied: x may not have it",
            "",
        ]
        .join("\n");
        assert_eq!(text(&log, now, Header::Plain), expected);
    }
}
