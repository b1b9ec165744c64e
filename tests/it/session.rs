//! Looking at a login and ending it.

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use keyfob_protocol::account::{AccountList, AccountState, GrantKind, Persistence, RenewalStatus};
use keyfob_protocol::daemon::{KeyKind, LogoutReport, Revocation, StoreState, Version};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};

#[test]
fn a_logout_revokes_at_the_issuer_and_forgets() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    let output = daemon.shim(&["logout"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(issuer.ledger().revoked.contains(&live));
    assert!(!issuer.honours(&token));
    assert_eq!(daemon.account("prod").state, AccountState::LoggedOut);
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    daemon.restart();
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    assert_eq!(issuer.ledger().violations, [""; 0]);
    daemon.log_in("prod");
}

#[test]
fn a_logout_of_a_login_that_is_dead_already_is_a_success_7009_1() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    issuer.end_all_logins();
    let output = daemon.shim(&["logout"]);
    assert_eq!((output.status, output.stderr.as_str()), (0, ""), "{output:?}");
    assert_eq!(daemon.account("prod").state, AccountState::LoggedOut);
}

#[test]
fn no_answer_may_be_kept_on_its_way_6750_3() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let plain = [("accept", "text/plain")];
    let hash = format!(r#"{{"sha256":"{}"}}"#, "0".repeat(64));
    for answer in [
        daemon.api("GET", "/v1/accounts/prod/token"),
        daemon.api_with("GET", "/v1/accounts/prod/token", &plain),
        daemon.api("GET", "/v1/accounts/prod/token?scope=more"),
        daemon.send("/v1/accounts/prod/token/rejected", &hash),
        daemon.api("POST", "/v1/accounts/prod/login"),
        daemon.api("GET", "/v1/accounts/prod/login"),
        daemon.api("DELETE", "/v1/accounts/prod/login"),
        daemon.api("GET", "/v1/accounts"),
        daemon.api("GET", "/v1/nothing"),
        daemon.api("PUT", "/v1/accounts"),
        daemon.api("DELETE", "/v1/accounts/prod/session"),
    ] {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
}

#[test]
fn a_logout_forgets_even_where_the_issuer_cannot_be_asked_and_says_so() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    drop(issuer);
    let report: LogoutReport = daemon.api("DELETE", "/v1/accounts/prod/session").json();
    assert_eq!(report.revocation, Revocation::Failed);
    assert!(report.reason.is_some());
    assert_eq!(daemon.account("prod").state, AccountState::LoggedOut);
}

#[test]
fn a_logout_tells_what_became_of_the_tokens() {
    let issuer = FakeIssuer::start(Settings { offers_revocation: false, ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    let log_out = || daemon.api("DELETE", "/v1/accounts/prod/session").json::<LogoutReport>().revocation;
    assert_eq!(log_out(), Revocation::NothingHeld);
    daemon.log_in("prod");
    assert_eq!(log_out(), Revocation::Unsupported);
    assert_eq!(issuer.ledger().revoked, [""; 0]);
}

#[test]
fn the_status_says_what_there_is_and_what_weakens_it() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    assert_eq!(daemon.account("prod").state, AccountState::SignedOut);
    daemon.log_in("prod");
    let output = daemon.shim(&["status", "--json"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let list: AccountList = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(list.default_account.unwrap().as_str(), "prod");
    assert_eq!((list.store.key, list.store.state), (KeyKind::File, StoreState::Open));
    assert!(list.store.note.is_some(), "a key in a plain file is worth a word");
    let prod = &list.accounts[0];
    assert_eq!((prod.grant, prod.issuer.as_str()), (GrantKind::DeviceCode, issuer.url()));
    assert_eq!((prod.state, prod.persistence), (AccountState::SignedIn, Persistence::Durable));
    let times = prod.access_token.unwrap();
    assert_eq!(times.expires_at.unwrap().duration_since(times.issued_at).as_secs(), 3600);
    let RenewalStatus::Due { at, failures: 0 } = prod.renewal else { panic!("{:?}", prod.renewal) };
    let due = at.duration_since(times.issued_at).as_secs_f64() / 3600.0;
    assert!((0.6..=0.7).contains(&due), "due at {due} of the lifetime");
    assert!(prod.warnings.iter().any(|warning| warning.contains("http")), "{:?}", prod.warnings);
    assert_eq!(prod.last_error, None);
    let table = daemon.shim(&["status"]).stdout;
    assert!(table.contains("prod") && table.contains("signed in"), "{table}");
}

#[test]
fn a_client_can_have_the_bare_token_or_all_about_it() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("~");
    assert_eq!(token.account.as_str(), "prod");
    assert_eq!(token.header.value, format!("Bearer {}", token.access_token));
    assert_eq!(token.scope.as_deref(), Some("all offline"));
    let bare = daemon.api_with("GET", "/v1/accounts/prod/token", &[("accept", "text/plain")]);
    assert_eq!(bare.body.trim_end(), token.access_token);
    assert_eq!(bare.header("cache-control"), Some("no-store"));
}

#[test]
fn a_request_that_makes_no_sense_is_answered_as_such() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    for (method, path, code) in [
        ("GET", "/v1/accounts/prod/token?min_tll=5", ErrorCode::BadRequest),
        ("GET", "/v1/accounts/prod/token?wait=-1", ErrorCode::BadRequest),
        ("GET", "/v1/nothing", ErrorCode::NotFound),
        ("GET", "/v1/accounts/nobody/token", ErrorCode::UnknownAccount),
    ] {
        let answer = daemon.api(method, path);
        assert_eq!(answer.json::<ErrorBody>().error, code, "{method} {path}");
        assert_eq!(answer.status, code.status(), "{method} {path}");
    }
    let version: Version = daemon.api("GET", "/v1/version").json();
    assert_eq!(version.pid, daemon.process().id());
}
