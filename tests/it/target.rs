//! Tools want tokens for other targets than the account's own.

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::ledger::TokenRequest;
use integration_tests::issuer::settings::{Client, Settings};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};

#[test]
fn a_narrower_token_does_not_displace_the_accounts_own_6749_7() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let own = printed(&daemon, &[]);
    let narrow = printed(&daemon, &["--scope", "all"]);
    assert_ne!(narrow, own);
    assert_eq!(printed(&daemon, &["--scope", "all"]), narrow);
    assert_eq!(printed(&daemon, &["--scope=offline", "--scope=all"]), own, "that is the account's own scope");
    assert_eq!(printed(&daemon, &[]), own);
    assert!(issuer.honours(&own) && issuer.honours(&narrow));
    let ledger = issuer.ledger();
    let asked: Vec<_> = ledger.requests("refresh_token").iter().map(|it| sent(it, "scope")).collect();
    assert_eq!(asked, ["all"]);
    // The refresh token that came with the narrower token is the live one, and it is on disk.
    daemon.kill();
    daemon.start_again();
    assert_eq!(printed(&daemon, &[]), own);
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    assert!(issuer.ledger().revoked.contains(&live), "it holds a refresh token that is not the live one");
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

#[test]
fn a_token_for_one_resource_is_not_given_for_another_8707_2() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let one = printed(&daemon, &["--resource", "https://a.example"]);
    let other = printed(&daemon, &["--resource", "https://b.example"]);
    let both = printed(&daemon, &["--resource=https://b.example", "--resource=https://a.example"]);
    assert!(one != other && both != one && both != other);
    assert_eq!(printed(&daemon, &["--resource", "https://a.example"]), one);
    let ledger = issuer.ledger();
    let asked: Vec<_> = ledger.requests("refresh_token").iter().map(|it| sent(it, "resource")).collect();
    assert_eq!(asked, ["https://a.example", "https://b.example", "https://a.example https://b.example"]);
    assert_eq!((ledger.violations, ledger.max_concurrent_token_requests), (vec![], 1));
}

#[test]
fn a_scope_that_was_not_granted_is_named_and_not_asked_for_6749_5() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = issuer.ledger().token_requests.len();
    let output = daemon.shim(&["token", "--scope", "all admin"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""));
    let expected = "keyfob: the login of prod was not granted the scope admin; add it to scopes, then run: keyfob login \
                    prod\n";
    assert_eq!(output.stderr, expected);
    let answer = daemon.api("GET", "/v1/accounts/prod/token?scope=admin");
    assert_eq!((answer.status, answer.json::<ErrorBody>().error), (403, ErrorCode::InsufficientScope));
    assert_eq!(issuer.ledger().token_requests.len(), before);
}

#[test]
fn an_account_without_a_person_asks_for_whatever_audience_a_tool_names() {
    let issuer = FakeIssuer::start(Settings {
        clients: vec![Client::basic("ci", "CANARY-secret")],
        ..Settings::default()
    });
    let home = Home::new().set("TEST_CLIENT_SECRET", "CANARY-secret");
    home.configure(&format!(
        "{HEAD}\n[accounts.prod]\nissuer = \"{}\"\nclient_id = \"ci\"\ngrant = \"client_credentials\"\n\
         client_secret = {{ env = \"TEST_CLIENT_SECRET\" }}\naudience = \"own\"\n\
         tls = {{ allow_http_loopback = true }}\n",
        issuer.url()
    ));
    let daemon = Daemon::start_in(home);
    let tokens = ["own", "x", "y", "x"].map(|audience| printed(&daemon, &["--audience", audience]));
    assert_eq!(tokens[1], tokens[3]);
    assert_eq!(printed(&daemon, &[]), tokens[0]);
    let ledger = issuer.ledger();
    let asked: Vec<_> = ledger.token_requests.iter().map(|it| sent(it, "audience")).collect();
    assert_eq!(asked, ["own", "x", "y"]);
}

#[test]
fn a_login_without_an_id_token_says_what_is_missing() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let output = daemon.shim(&["token", "--id-token"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""));
    assert!(output.stderr.contains("add \"openid\" to scopes"), "{}", output.stderr);
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 0);
}

#[track_caller]
fn printed(daemon: &Daemon, options: &[&str]) -> String {
    let output = daemon.shim(&[&["token"], options].concat());
    assert_eq!(output.status, 0, "{}\n{}", output.stderr, daemon.log());
    output.stdout.trim_end().to_owned()
}

/// Returns what a request sent by this name, which may be several values.
fn sent(request: &TokenRequest, name: &str) -> String {
    let values = request.parameters.iter().filter(|(known, _)| known == name);
    values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
}
