//! `keyfob status`: a line for each account, and below what needs attention.
//!
//! The thing to get wrong: a failed renewal is not a failed account. The table says what works now, the notes what went
//! wrong.

mod log;
pub(crate) mod table;

use std::io::{self, IsTerminal};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyfob_protocol::account::{
    AccountList, AccountName, AccountState, AccountStatus, GrantKind, Persistence, RenewalStatus,
};
use keyfob_protocol::daemon::{KeyKind, StoreState, StoreStatus};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};
use keyfob_protocol::lock::LockState;
use keyfob_protocol::paths::Paths;

use crate::arguments::status::{Form, StatusOptions, Subject};
use crate::client::{self, Client};
use crate::clock::{Deadline, now};
use crate::connection::{Method, Request};
use crate::display;
use crate::environment::Person;
use crate::failure::Failure;
use crate::status::table::Header;

/// How long the daemon may take to say how it is: it says so from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// The columns.
const TITLES: [&str; 6] = ["ACCOUNT", "STATE", "EXPIRES IN", "RENEWS IN", "GRANT", "ISSUER"];

/// Returns what is asked for, in the form that is asked for.
pub(crate) fn report(options: &StatusOptions, client: &Client, person: &Person) -> Result<String, Failure> {
    match options.subject {
        Subject::State => accounts(options, client, person),
        Subject::Log(limit) => log::report(options, limit, client, header(person)),
    }
}

fn accounts(options: &StatusOptions, client: &Client, person: &Person) -> Result<String, Failure> {
    let answer = client.ask(&Request::new(Method::Get, "/v1/accounts"), Deadline::after(PATIENCE))?;
    let mut list: AccountList = client::read(&answer)?;
    if let Some(name) = &options.account {
        list.accounts.retain(|account| account.name == *name);
        if list.accounts.is_empty() {
            return Err(unknown(name));
        }
    }
    match (options.form, &options.account) {
        (Form::Json, None) => Ok(format!("{}\n", String::from_utf8_lossy(&answer.body).trim_end())),
        (Form::Json, Some(name)) => only(&answer.body, name),
        (Form::Table, _) if list.accounts.is_empty() => Ok(no_accounts(person)?),
        (Form::Table, _) => Ok(text(&list, now(), header(person))),
    }
}

fn header(person: &Person) -> Header {
    let is_bold = io::stdout().is_terminal() && person.allows_escapes();
    if is_bold { Header::Bold } else { Header::Plain }
}

/// Returns the daemon's own words about one account, also those that this keyfob does not know.
fn only(body: &[u8], name: &AccountName) -> Result<String, Failure> {
    let unknown_words = |_| Failure::Unexplained { status: 200 };
    let mut list: serde_json::Value = serde_json::from_slice(body).map_err(unknown_words)?;
    if let Some(accounts) = list.get_mut("accounts").and_then(serde_json::Value::as_array_mut) {
        accounts.retain(|account| account.get("name").and_then(|name| name.as_str()) == Some(name.as_str()));
    }
    Ok(format!("{list}\n"))
}

fn unknown(name: &AccountName) -> Failure {
    let error = ErrorBody::new(ErrorCode::UnknownAccount, format!("there is no account {name}"));
    Failure::said(error.with_hint("to see them all run: keyfob status"))
}

fn no_accounts(person: &Person) -> Result<String, Failure> {
    let paths = Paths::find(person.config.clone())?;
    let config = display::line(&paths.config.to_string_lossy());
    Ok(format!("no accounts are configured: add one to {config}, then run: keyfob reload\n"))
}

fn text(list: &AccountList, now: Timestamp, header: Header) -> String {
    let is_default = |account: &AccountStatus| list.default_account.as_ref() == Some(&account.name);
    let rows: Vec<_> = list.accounts.iter().map(|account| row(account, is_default(account), now)).collect();
    let mut notes: Vec<String> =
        list.accounts.iter().flat_map(|account| account_notes(account, now)).collect();
    match list.lock.state {
        LockState::Locked => notes.push("keyfob is locked; run: keyfob unlock".to_owned()),
        LockState::Open | LockState::Unknown => notes.extend(store_notes(&list.store)),
    }
    let mut text = table::render(TITLES, &rows, header);
    if !notes.is_empty() {
        text.push_str(&format!("\n{}\n", notes.join("\n")));
    }
    text
}

fn row(account: &AccountStatus, is_default: bool, now: Timestamp) -> [String; 6] {
    let mark = if is_default { " *" } else { "" };
    [
        format!("{}{mark}", account.name),
        state(account.state).to_owned(),
        expiry(account, now),
        renewal(account, now),
        grant(account.grant).to_owned(),
        display::text(&account.issuer),
    ]
}

fn state(state: AccountState) -> &'static str {
    match state {
        AccountState::SignedIn => "signed in",
        AccountState::SignedOut => "signed out",
        AccountState::LoggedOut => "logged out",
        AccountState::Refused => "refused",
        AccountState::AmbiguousRotation => "answer lost",
        AccountState::Locked => "locked",
        AccountState::Unknown => "unknown",
    }
}

fn expiry(account: &AccountStatus, now: Timestamp) -> String {
    match account.access_token {
        None => "-".to_owned(),
        Some(token) => match token.expires_at {
            None => "not said".to_owned(),
            Some(moment) => display::until(moment, now).unwrap_or_else(|| "expired".to_owned()),
        },
    }
}

fn renewal(account: &AccountStatus, now: Timestamp) -> String {
    match account.renewal {
        RenewalStatus::Due { at, .. } => display::until(at, now).unwrap_or_else(|| "now".to_owned()),
        RenewalStatus::OnDemand { .. } => "on demand".to_owned(),
        RenewalStatus::InFlight => "now".to_owned(),
        RenewalStatus::Impossible => "-".to_owned(),
        RenewalStatus::Unknown => "unknown".to_owned(),
    }
}

fn grant(grant: GrantKind) -> &'static str {
    match grant {
        GrantKind::AuthorizationCode => "authorization_code",
        GrantKind::DeviceCode => "device_code",
        GrantKind::ClientCredentials => "client_credentials",
        GrantKind::Command => "command",
        GrantKind::Unknown => "unknown",
    }
}

fn account_notes(account: &AccountStatus, now: Timestamp) -> Vec<String> {
    let name = &account.name;
    let mut notes = Vec::new();
    if account.login.is_pending() {
        notes.push(format!("{name}: a login is pending; to see it run: keyfob login {name}"));
    } else if needs_login(account) {
        notes.push(format!("{name}: not signed in; run: keyfob login {name}"));
    }
    if let Some(last) = &account.last_error {
        let ago = display::span(now.duration_since(last.at).max(SignedDuration::ZERO).unsigned_abs());
        notes.push(format!("{} ({ago} ago{})", last_error(name, &last.error), attempts(account)));
    }
    for warning in &account.warnings {
        notes.push(format!("{name}: warning: {}", display::text(warning)));
    }
    match (account.persistence, &account.persistence_note, account.access_token) {
        (Persistence::Volatile, Some(note), _) => {
            let note = display::text(note);
            notes.push(format!("{name}: its tokens are not on disk: {note}; keyfobd tries again by itself"));
        }
        (Persistence::Volatile, None, Some(_)) => {
            notes.push(format!("{name}: its tokens are in memory alone, and end with keyfobd"));
        }
        (Persistence::Durable | Persistence::Volatile | Persistence::Unknown, _, _) => {}
    }
    notes
}

/// Tells whether somebody must log in and the latest failure does not say so already.
fn needs_login(account: &AccountStatus) -> bool {
    let is_said =
        account.last_error.as_ref().is_some_and(|last| last.error.error == ErrorCode::LoginRequired);
    let is_for_people = match account.grant {
        GrantKind::AuthorizationCode | GrantKind::DeviceCode => true,
        GrantKind::ClientCredentials | GrantKind::Command | GrantKind::Unknown => false,
    };
    let is_out = match account.state {
        AccountState::SignedOut
        | AccountState::LoggedOut
        | AccountState::Refused
        | AccountState::AmbiguousRotation => true,
        AccountState::SignedIn | AccountState::Locked | AccountState::Unknown => false,
    };
    is_out && is_for_people && !is_said
}

/// Returns what went wrong with an account, and what to do where waiting does not help.
fn last_error(name: &AccountName, error: &ErrorBody) -> String {
    let message = match error.error.exit() {
        Exit::Success | Exit::Unavailable | Exit::NoDaemon => display::text(&error.message),
        Exit::Usage | Exit::LoginRequired | Exit::Denied | Exit::Configuration => {
            display::text(&error.to_string())
        }
    };
    if message.starts_with(&format!("{name} ")) { message } else { format!("{name}: {message}") }
}

/// Returns how often a renewal has failed by now.
fn attempts(account: &AccountStatus) -> String {
    match account.renewal {
        RenewalStatus::Due { failures, .. } | RenewalStatus::OnDemand { failures } if failures > 1 => {
            format!(", {failures} attempts failed")
        }
        RenewalStatus::Due { .. }
        | RenewalStatus::OnDemand { .. }
        | RenewalStatus::InFlight
        | RenewalStatus::Impossible
        | RenewalStatus::Unknown => String::new(),
    }
}

fn store_notes(store: &StoreStatus) -> Vec<String> {
    let locked = match (store.state, store.key) {
        (StoreState::Locked, KeyKind::Keyring) => {
            Some("store: locked; unlock your keyring, keyfobd goes on by itself")
        }
        (StoreState::Locked, KeyKind::Credential | KeyKind::File | KeyKind::Memory | KeyKind::Unknown) => {
            Some("store: locked; make its key readable, then run: keyfob reload")
        }
        (StoreState::Open | StoreState::Unknown, _) => None,
    };
    let note = store.note.as_deref().map(|note| format!("store: {}", display::text(note)));
    locked.map(str::to_owned).into_iter().chain(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{
        "default_account": "prod",
        "store": {"key": "file", "state": "open", "note": "the key lies in a plain file"},
        "accounts": [
            {"name": "corp", "grant": "device_code", "issuer": "https://login.example.com\u001b[2J",
             "state": "refused", "access_token": null, "renewal": {"state": "impossible"},
             "persistence": "durable", "login": {"state": "idle"},
             "last_error": {"at": "2026-11-21T11:00:00Z", "error": "login_required",
                            "message": "the issuer refused the refresh token",
                            "hint": "run: keyfob login corp", "retry_at": null}},
            {"name": "dev", "grant": "authorization_code", "issuer": "https://dev.example.com",
             "state": "signed_out", "access_token": null, "renewal": {"state": "impossible"},
             "persistence": "volatile", "login": {"state": "starting"}, "last_error": null,
             "warnings": ["TLS certificates are not checked"]},
            {"name": "prod", "grant": "command", "issuer": "https://prod.example.com",
             "state": "signed_in",
             "access_token": {"issued_at": "2026-11-21T11:58:00Z", "expires_at": "2026-11-21T12:58:30Z"},
             "renewal": {"state": "due", "at": "2026-11-21T12:00:12Z", "failures": 3},
             "persistence": "volatile", "login": {"state": "signed_in"},
             "last_error": {"at": "2026-11-21T11:59:30Z", "error": "unavailable",
                            "message": "prod could not be renewed: the issuer answered 503",
                            "hint": "run: keyfob status", "retry_at": null}}
        ]}"#;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn account(changes: &[(&str, &str)]) -> AccountStatus {
        let mut list: serde_json::Value = serde_json::from_str(LIST).unwrap();
        let account = &mut list["accounts"][2];
        for (member, json) in changes {
            account[*member] = serde_json::from_str(json).unwrap();
        }
        serde_json::from_value(account.clone()).unwrap()
    }

    #[test]
    fn the_table_says_what_works_and_the_notes_what_went_wrong() {
        let list: AccountList = serde_json::from_str(LIST).unwrap();
        let expected = [
            "ACCOUNT  STATE       EXPIRES IN  RENEWS IN  GRANT               ISSUER",
            "corp     refused     -           -          device_code         https://login.example.com[2J",
            "dev      signed out  -           -          authorization_code  https://dev.example.com",
            "prod *   signed in   58 min      12 s       command             https://prod.example.com",
            "",
            "corp: the issuer refused the refresh token; run: keyfob login corp (1 h ago)",
            "dev: a login is pending; to see it run: keyfob login dev",
            "dev: warning: TLS certificates are not checked",
            "prod could not be renewed: the issuer answered 503 (30 s ago, 3 attempts failed)",
            "prod: its tokens are in memory alone, and end with keyfobd",
            "store: the key lies in a plain file",
            "",
        ]
        .join("\n");
        assert_eq!(text(&list, now(), Header::Plain), expected);
    }

    #[test]
    fn times_that_have_passed_or_are_not_known_are_said_so() {
        let token = |json| account(&[("access_token", json)]);
        assert_eq!(
            expiry(
                &token(r#"{"issued_at":"2026-11-21T10:00:00Z","expires_at":"2026-11-21T11:00:00Z"}"#),
                now()
            ),
            "expired"
        );
        assert_eq!(
            expiry(&token(r#"{"issued_at":"2026-11-21T10:00:00Z","expires_at":null}"#), now()),
            "not said"
        );
        let renews = |json| renewal(&account(&[("renewal", json)]), now());
        assert_eq!(renews(r#"{"state":"due","at":"2026-11-21T11:00:00Z","failures":0}"#), "now");
        assert_eq!(renews(r#"{"state":"on_demand","failures":0}"#), "on demand");
        assert_eq!(renews(r#"{"state":"in_flight"}"#), "now");
        assert_eq!(renews(r#"{"state":"tomorrow"}"#), "unknown");
    }

    #[test]
    fn tokens_that_are_not_on_disk_say_why_and_what_to_do() {
        let note = r#""the disk is full: make room on it""#;
        let notes = account_notes(&account(&[("persistence_note", note), ("last_error", "null")]), now());
        let expected = "prod: its tokens are not on disk: the disk is full: make room on it; keyfobd tries again by itself";
        assert_eq!(notes, [expected]);
        let healed = [("persistence", r#""durable""#), ("last_error", "null")];
        assert!(account_notes(&account(&healed), now()).is_empty());
    }

    #[test]
    fn what_is_locked_says_how_to_unlock_it_and_nothing_of_its_store() {
        let locked = LIST.replacen('{', r#"{"lock": {"state": "locked", "takes_passphrase": true},"#, 1);
        let text = text(&serde_json::from_str(&locked).unwrap(), now(), Header::Plain);
        assert!(text.ends_with("\nkeyfob is locked; run: keyfob unlock\n"), "{text}");
        assert!(!text.contains("store:"), "{text}");
    }

    #[test]
    fn a_locked_store_says_what_to_do() {
        let notes = |key| store_notes(&StoreStatus { key, state: StoreState::Locked, note: None });
        assert_eq!(
            notes(KeyKind::Keyring),
            ["store: locked; unlock your keyring, keyfobd goes on by itself"]
        );
        assert_eq!(
            notes(KeyKind::Credential),
            ["store: locked; make its key readable, then run: keyfob reload"]
        );
    }

    #[test]
    fn one_account_in_json_keeps_what_a_newer_daemon_says_of_it() {
        let body = br#"{"later":1,"accounts":[{"name":"a","new":[2]},{"name":"b"}],"store":{}}"#;
        assert_eq!(
            only(body, &"a".parse().unwrap()).unwrap(),
            "{\"accounts\":[{\"name\":\"a\",\"new\":[2]}],\"later\":1,\"store\":{}}\n"
        );
    }
}
