//! The document against the router and the types of the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::header::ALLOW;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use keyfob_protocol::account::{
    AccessTokenStatus, AccountList, AccountState, AccountStatus, GrantKind, LastError, Persistence,
    RenewalStatus,
};
use keyfob_protocol::audit::{AuditEntry, AuditLog, AuditOutcome};
use keyfob_protocol::confirmation::{
    Answer, Confirmation, ConfirmationAnswer, ConfirmationList, ConfirmationReport,
};
use keyfob_protocol::daemon::{
    KeyKind, LogoutReport, ReloadReport, Revocation, StoreState, StoreStatus, Version,
};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::import::{Donors, ForeignClient, ForeignSession, ForeignSessions, ImportRequest};
use keyfob_protocol::lock::{LockRequest, LockState, LockStatus};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus, PastedRedirect};
use keyfob_protocol::token::{
    Header, RejectedToken, RejectionOutcome, RejectionReport, TokenKind, TokenResponse,
};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::DESCRIPTION;
use super::schema::misfit;
use crate::api::control::Control;
use crate::api::{Api, paths, router};
use crate::cache::TokenCache;
use crate::clock::Clock;
use crate::flyte::keyring::Keyrings;
use crate::store::key::KeyChoice;
use crate::store::{Location, Sources, Store};

/// What a path item has beside methods.
const PARAMETERS: &str = "parameters";

/// No path has it, so the answer says which ones there are.
const NO_METHOD: &str = "BREW";

fn document() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

/// An API without accounts.
fn api(state: &TempDir) -> Arc<Api> {
    let clock = Clock::system();
    fs::set_permissions(state.path(), Permissions::from_mode(0o700)).unwrap();
    let keys = Sources::of_the_system(None);
    let store = Store::open(&Location::of(state.path()), KeyChoice::Memory, keys, clock.clone()).unwrap();
    let sources = Box::new(|_: &_| unreachable!("there are no accounts"));
    let cache = TokenCache::new(Arc::new(store), sources, clock);
    let control = Control { orders: mpsc::channel(1).0, started_at: Timestamp::UNIX_EPOCH };
    Arc::new(Api::new(cache, control, Keyrings::new(None, None)))
}

async fn answer(method: &str, path: &str) -> Response {
    let state = tempfile::tempdir().unwrap();
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    crate::api::answer(router(api(&state)), request).await
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

/// Returns the methods of each path, as the document has them.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document = document();
    let methods = |item: &Value| {
        let names = item.as_object().unwrap().keys().filter(|name| *name != PARAMETERS);
        names.map(|name| name.to_uppercase()).collect()
    };
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn the_document_has_every_path_and_method_of_the_router_and_no_other() {
    let mut served = BTreeMap::new();
    for (path, _) in paths() {
        let refused = answer(NO_METHOD, &path.replace(['{', '}'], "")).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = refused.headers()[ALLOW].to_str().unwrap().to_owned();
        // Every GET is answered without its body, too.
        let methods = allowed.split(',').map(str::trim).filter(|method| *method != "HEAD");
        served.insert(path.to_owned(), methods.map(str::to_owned).collect::<BTreeSet<_>>());
    }
    assert_eq!(served, described());
}

#[tokio::test]
async fn it_is_served_as_it_is() {
    let served = answer("GET", "/v1/openapi.json").await;
    assert_eq!(served.headers()["content-type"], "application/json");
    assert_eq!(body(served).await, document());
}

#[tokio::test]
async fn an_error_of_the_http_library_has_the_form_of_all_errors() {
    for (method, path, status) in [
        ("GET", "/v1/accounts/%ff/login", 400),
        ("DELETE", "/v1/accounts/%C3%28/session", 400),
        ("POST", "/v1/accounts", 405),
        ("GET", "/nowhere", 404),
    ] {
        let answer = answer(method, path).await;
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{method} {path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{method} {path}");
        let error: ErrorBody = serde_json::from_value(body(answer).await).unwrap();
        assert!(!error.message.is_empty(), "{method} {path}");
    }
}

#[tokio::test]
async fn an_error_that_quotes_the_request_cannot_steer_a_terminal() {
    for path in ["/v1/accounts/a/login?flow=%1b[2J%e2%80%ae", "/v1/accounts/a/login?%1b=1"] {
        let answer = answer("POST", path).await;
        assert_eq!(answer.status(), 400, "{path}");
        let error: ErrorBody = serde_json::from_value(body(answer).await).unwrap();
        assert!(error.message.contains("unknown"), "{path}: {}", error.message);
        let is_harmful = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!error.message.contains(is_harmful), "{path}: {:?}", error.message);
    }
}

#[test]
fn the_types_of_the_protocol_are_what_the_document_says() {
    for (name, value) in examples() {
        let schema = &document()["components"]["schemas"][name];
        assert_eq!(misfit(&document(), schema, &value), None, "{name}");
    }
}

#[test]
fn every_word_that_travels_is_in_the_document() {
    let words = |name: &str| document()["components"]["schemas"][name]["enum"].clone();
    // Unknown is the reader's, and never sent.
    let codes: Vec<_> = CODES.iter().map(|code| serde_json::to_value(code).unwrap()).collect();
    assert_eq!(words("ErrorCode"), json!(codes));
    // Whoever adds one finds this list.
    for code in CODES {
        match code {
            ErrorCode::BadRequest
            | ErrorCode::UnknownAccount
            | ErrorCode::NotFound
            | ErrorCode::LoginRequired
            | ErrorCode::LoginFailed
            | ErrorCode::InsufficientScope
            | ErrorCode::Misconfigured
            | ErrorCode::Unavailable
            | ErrorCode::Locked
            | ErrorCode::ShuttingDown
            | ErrorCode::Denied
            | ErrorCode::Internal
            | ErrorCode::Unknown => {}
        }
    }
}

#[test]
fn a_member_that_is_missing_or_not_described_is_found() {
    let schema = &document()["components"]["schemas"]["Version"];
    let version = json!({ "version": "1", "pid": 1, "started_at": "2026-11-21T12:00:00Z" });
    assert_eq!(misfit(&document(), schema, &version), None);
    for (name, value) in [("pid", json!("1")), ("pid", Value::Null), ("more", json!(1))] {
        let mut wrong = version.clone();
        wrong[name] = value;
        assert!(misfit(&document(), schema, &wrong).is_some(), "{wrong}");
    }
    let mut less = version.clone();
    less.as_object_mut().unwrap().remove("version");
    assert!(misfit(&document(), schema, &less).is_some());
}

/// Every code that is sent.
const CODES: [ErrorCode; 12] = [
    ErrorCode::BadRequest,
    ErrorCode::UnknownAccount,
    ErrorCode::NotFound,
    ErrorCode::LoginRequired,
    ErrorCode::LoginFailed,
    ErrorCode::InsufficientScope,
    ErrorCode::Misconfigured,
    ErrorCode::Unavailable,
    ErrorCode::Locked,
    ErrorCode::ShuttingDown,
    ErrorCode::Denied,
    ErrorCode::Internal,
];

/// Returns values of the protocol with everything in them, and with nothing.
fn examples() -> Vec<(&'static str, Value)> {
    fn json(value: impl Serialize) -> Value {
        serde_json::to_value(value).unwrap()
    }
    let name = || "prod".parse().unwrap();
    let at = Timestamp::UNIX_EPOCH;
    let error = ErrorBody {
        hint: Some("h".to_owned()),
        retry_at: Some(at),
        details: vec!["d".to_owned()],
        ..ErrorBody::new(ErrorCode::Unavailable, "m")
    };
    let plain = ErrorBody::new(ErrorCode::Locked, "m");
    let header = || Header { name: "authorization".to_owned(), value: "Bearer x".to_owned() };
    let token = |stale| TokenResponse {
        account: name(),
        access_token: "x".to_owned(),
        kind: TokenKind::Id,
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_at: Some(at),
        expires_in: Some(1),
        header: header(),
        stale,
    };
    let session =
        |client| ForeignSession { client, place: "p".to_owned(), is_renewable: true, is_next: true };
    let sessions = [ForeignClient::Flytekit, ForeignClient::Flytectl, ForeignClient::Flyte].map(session);
    let rejection = |outcome| RejectionReport { account: name(), outcome, reason: None };
    let logout = |revocation| LogoutReport { account: name(), revocation, reason: Some("r".to_owned()) };
    let mut examples = vec![
        ("ErrorBody", json(&error)),
        ("ErrorBody", json(&plain)),
        ("Version", json(Version { version: "1".to_owned(), pid: 1, started_at: at })),
        ("TokenResponse", json(token(None))),
        ("TokenResponse", json(token(Some(error.clone())))),
        ("RejectedToken", json(RejectedToken { sha256: "0".repeat(64) })),
        ("PastedRedirect", json(PastedRedirect { url: "u".to_owned() })),
        ("ImportRequest", json(ImportRequest { endpoint: "e".to_owned(), donors: Donors::Delete })),
        ("ImportRequest", json(ImportRequest { endpoint: "e".to_owned(), donors: Donors::Keep })),
        ("ForeignSessions", json(ForeignSessions { sessions: sessions.to_vec(), is_locked: true })),
        ("ReloadReport", json(ReloadReport { added: vec![name()], ..ReloadReport::default() })),
    ];
    for outcome in [RejectionOutcome::Renewed, RejectionOutcome::Superseded, RejectionOutcome::Unchanged] {
        examples.push(("RejectionReport", json(rejection(outcome))));
    }
    for revocation in
        [Revocation::Revoked, Revocation::Unsupported, Revocation::Failed, Revocation::NothingHeld]
    {
        examples.push(("LogoutReport", json(logout(revocation))));
    }
    for state in [LockState::Open, LockState::Locked] {
        examples.push(("LockStatus", json(LockStatus { state, takes_passphrase: true })));
    }
    for passphrase in [None, Some("p".to_owned())] {
        examples.push(("LockRequest", json(LockRequest { passphrase })));
    }
    examples.extend(requests_for_tokens(at).into_iter().map(|log| ("AuditLog", json(log))));
    examples.extend(confirmations(at));
    examples.extend(logins(at, &error).into_iter().map(|login| {
        let warning = Some("w".to_owned());
        ("LoginStatus", json(LoginStatus { account: name(), revision: 1, login, warning }))
    }));
    examples.extend(lists(at, &error).into_iter().map(|list| ("AccountList", json(list))));
    examples
}

fn confirmations(at: Timestamp) -> Vec<(&'static str, Value)> {
    let confirmation = Confirmation {
        id: 1,
        account: "prod".parse().unwrap(),
        program: "/usr/bin/git".to_owned(),
        pid: Some(7),
        unit: Some("u.service".to_owned()),
        wanted: vec!["scope a".to_owned()],
        asked_at: at,
    };
    let answer = |answer, for_seconds| json!(ConfirmationAnswer { answer, for_seconds });
    let confirmations = vec![confirmation.clone()];
    vec![
        ("ConfirmationAnswer", answer(Answer::Allow, Some(60))),
        ("ConfirmationAnswer", answer(Answer::Deny, None)),
        ("ConfirmationList", json!(ConfirmationList { confirmations })),
        ("ConfirmationReport", json!(ConfirmationReport { confirmation, until: Some(at) })),
    ]
}

fn requests_for_tokens(at: Timestamp) -> Vec<AuditLog> {
    let entry = |outcome, known: Option<&str>| AuditEntry {
        at,
        times: 1,
        account: "prod".parse().unwrap(),
        outcome,
        reason: known.map(str::to_owned),
        uid: 1000,
        pid: known.map(|_| 7),
        program: "(git)".to_owned(),
        unit: known.map(str::to_owned),
        kind: TokenKind::Access,
        scope: known.map(str::to_owned),
        fingerprint: known.map(str::to_owned),
    };
    let log = |outcome| AuditLog { entries: vec![entry(outcome, None), entry(outcome, Some("k"))] };
    vec![log(AuditOutcome::Issued), log(AuditOutcome::Denied)]
}

fn logins(at: Timestamp, error: &ErrorBody) -> Vec<LoginState> {
    let asking = |prompt| LoginState::Asking { prompt, expires_at: at };
    let enter_code = |complete| LoginPrompt::EnterCode {
        verification_uri: "https://i".to_owned(),
        verification_uri_complete: complete,
        user_code: "c".to_owned(),
    };
    vec![
        LoginState::Idle,
        LoginState::Starting,
        asking(enter_code(None)),
        asking(enter_code(Some("https://i?c".to_owned()))),
        asking(LoginPrompt::Visit { url: "https://i".to_owned() }),
        LoginState::Exchanging,
        LoginState::SignedIn,
        LoginState::Failed { error: error.clone() },
        LoginState::Cancelled,
    ]
}

/// Returns lists in which every word of a status comes, each in an account of its own.
fn lists(at: Timestamp, error: &ErrorBody) -> Vec<AccountList> {
    let grants = [
        GrantKind::AuthorizationCode,
        GrantKind::DeviceCode,
        GrantKind::ClientCredentials,
        GrantKind::Command,
    ];
    let states = [
        AccountState::SignedIn,
        AccountState::SignedOut,
        AccountState::LoggedOut,
        AccountState::Refused,
        AccountState::AmbiguousRotation,
        AccountState::Locked,
        AccountState::Unknown,
    ];
    let renewals = [
        RenewalStatus::Due { at, failures: 1 },
        RenewalStatus::OnDemand { failures: 0 },
        RenewalStatus::InFlight,
        RenewalStatus::Impossible,
    ];
    let account = |index: usize| AccountStatus {
        name: "prod".parse().unwrap(),
        grant: grants[index % grants.len()],
        issuer: "https://i".to_owned(),
        state: states[index],
        access_token: index
            .is_multiple_of(2)
            .then_some(AccessTokenStatus { issued_at: at, expires_at: None }),
        renewal: renewals[index % renewals.len()],
        persistence: if index.is_multiple_of(2) { Persistence::Durable } else { Persistence::Volatile },
        persistence_note: (!index.is_multiple_of(2)).then(|| "n".to_owned()),
        login: LoginState::Idle,
        last_error: index.is_multiple_of(2).then(|| LastError { at, error: error.clone() }),
        dropped: 0,
        warnings: vec!["w".to_owned()],
    };
    let keys = [KeyKind::Keyring, KeyKind::Credential, KeyKind::File, KeyKind::Memory];
    let store = |key| StoreStatus { key, state: StoreState::Locked, note: None };
    keys.into_iter()
        .map(|key| AccountList {
            accounts: (0..states.len()).map(account).collect(),
            default_account: Some("prod".parse().unwrap()),
            store: store(key),
            lock: LockStatus::default(),
        })
        .collect()
}
