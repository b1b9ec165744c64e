//! Accounts without a person: a client with a secret (RFC 6749 §4.4).

use std::time::Duration;

use integration_tests::config::HEAD;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Point};
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::shim;
use keyfob_protocol::account::{AccountState, GrantKind};
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};

/// All that the encoding of RFC 6749 §2.3.1 is about.
const SECRET: &str = "CANARY:100% + ä~/=&x";

#[test]
fn a_secret_with_any_characters_is_proven_in_each_way_from_each_place() {
    let issuer = FakeIssuer::start(Settings {
        clients: vec![Client::basic("basic", SECRET), Client::post("post", SECRET)],
        ..Settings::default()
    });
    let home = Home::new().set("TEST_CLIENT_SECRET", SECRET);
    let file = home.write("secret", &format!("{SECRET}\n"), 0o600);
    let places = [
        format!("{{ file = {file:?} }}"),
        r#"{ env = "TEST_CLIENT_SECRET" }"#.to_owned(),
        format!(r#"{{ command = ["cat", {file:?}] }}"#),
    ];
    let mut config = HEAD.replace("prod", "basic0");
    for (number, place) in places.iter().enumerate() {
        config.push_str(&account(&format!("basic{number}"), "basic", place, &issuer));
        config.push_str(&account(&format!("post{number}"), "post", place, &issuer));
    }
    home.configure(&config);
    let daemon = Daemon::start_in(home);
    for number in 0..places.len() {
        for way in ["basic", "post"] {
            let name = format!("{way}{number}");
            assert!(issuer.honours(&daemon.token(&name).access_token), "{name}");
        }
    }
    assert_eq!(issuer.ledger().violations, [""; 0]);
    assert!(!daemon.log().contains("CANARY"), "{}", daemon.log());
}

#[test]
fn a_variable_that_is_not_set_where_the_daemon_starts_costs_its_account_alone() {
    let issuer =
        FakeIssuer::start(Settings { clients: vec![Client::basic("basic", SECRET)], ..Settings::default() });
    let home = Home::new();
    let file = home.write("secret", SECRET, 0o600);
    let set = account("set", "basic", &format!("{{ file = {file:?} }}"), &issuer);
    let unset = account("unset", "basic", r#"{ env = "TEST_CLIENT_SECRET" }"#, &issuer);
    home.configure(&format!("{}{set}{unset}", HEAD.replace("prod", "set")));
    let daemon = Daemon::start_in(home);
    assert!(issuer.honours(&daemon.token("set").access_token));
    let output = daemon.shim(&["token", "unset"]);
    assert_eq!(output.status, Exit::Configuration as i32);
    assert!(
        output.stderr.contains("\"TEST_CLIENT_SECRET\"") && output.stderr.contains("keyfob stop"),
        "{output:?}"
    );
}

#[test]
fn ten_tools_at_once_cost_one_request() {
    let issuer = ci_issuer();
    let daemon = ci_daemon(&issuer);
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    let mut tools: Vec<_> = (0..10).map(|_| shim::spawn(daemon.home(), &["token", "ci"])).collect();
    eventually(SOON, "the one request", || issuer.held() == 1);
    issuer.release();
    for tool in &mut tools {
        let output = tool.wait();
        assert_eq!(output.status, 0, "{}", output.stderr);
        assert!(issuer.honours(output.stdout.trim_end()));
    }
    assert_eq!(issuer.ledger().requests("client_credentials").len(), 1);
}

#[test]
fn an_account_with_a_secret_needs_no_login_and_is_renewed_without_one() {
    let issuer = ci_issuer();
    issuer.change(|settings| settings.access_lifetime = Duration::from_secs(60));
    let daemon = ci_daemon(&issuer);
    let account = daemon.account("ci");
    assert_eq!(account.grant, GrantKind::ClientCredentials);
    let refused = daemon.api("POST", "/v1/accounts/ci/login");
    assert_eq!(refused.json::<ErrorBody>().error, ErrorCode::BadRequest);
    assert!(issuer.honours(&daemon.renew("ci").access_token));
    assert_eq!(daemon.account("ci").state, AccountState::SignedIn);
    assert_eq!(issuer.ledger().requests("client_credentials").len(), 2);
}

#[test]
fn a_wrong_secret_is_a_mistake_to_mend_and_not_an_outage() {
    let issuer = ci_issuer();
    let daemon = ci_daemon(&issuer);
    let secret = daemon.home().write("secret", "CANARY-wrong", 0o600);
    let output = daemon.shim(&["token", "ci"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""), "{output:?}");
    assert!(!output.stderr.contains("CANARY"), "{}", output.stderr);
    std::fs::write(secret, SECRET).unwrap();
    daemon.reload();
    assert!(issuer.honours(&daemon.token("ci").access_token));
}

#[test]
fn a_secret_that_others_could_have_written_is_not_sent() {
    let issuer = ci_issuer();
    let daemon = ci_daemon(&issuer);
    daemon.home().write("secret", SECRET, 0o620);
    let output = daemon.shim(&["token", "ci"]);
    assert_eq!(output.status, Exit::Configuration as i32, "{output:?}");
    assert_eq!(issuer.ledger().token_requests.len(), 0);
}

fn ci_issuer() -> FakeIssuer {
    FakeIssuer::start(Settings { clients: vec![Client::basic("ci", SECRET)], ..Settings::default() })
}

fn ci_daemon(issuer: &FakeIssuer) -> Daemon {
    let home = Home::new();
    let file = home.write("secret", SECRET, 0o600);
    let place = format!("{{ file = {file:?} }}");
    home.configure(&(HEAD.replace("prod", "ci") + &account("ci", "ci", &place, issuer)));
    Daemon::start_in(home)
}

fn account(name: &str, client: &str, secret: &str, issuer: &FakeIssuer) -> String {
    let way = if client == "post" { "client_secret_post" } else { "client_secret_basic" };
    format!(
        r#"
[accounts.{name}]
issuer = "{}"
client_id = "{client}"
client_secret = {secret}
client_authentication = "{way}"
grant = "client_credentials"
tls = {{ allow_http_loopback = true }}
"#,
        issuer.url()
    )
}
