//! The configuration: what is wrong with it is said at once, in full, with lines; what is right takes effect.

use std::fs;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::patience::{SOON, eventually};
use keyfob_protocol::account::{AccountList, AccountState};
use keyfob_protocol::daemon::ReloadReport;
use keyfob_protocol::error::{ErrorBody, ErrorCode, Exit};
use rustix::process::Signal;

/// The exit code of a daemon whose configuration has mistakes: `EX_CONFIG` of sysexits.
const EX_CONFIG: i32 = 78;

#[test]
fn five_mistakes_are_reported_at_once_with_their_lines() {
    let home = Home::new();
    home.configure(
        r#"default_acount = "prod"

[store]
key = "vault"

[accounts.prod]
issuer = "https://login.example.com"
client_idd = "cli"
grant = "device_cod"
scopes = "all"
"#,
    );
    let output = home.spawn("keyfobd", &[]).wait();
    assert_eq!(output.status, EX_CONFIG, "{}", output.stderr);
    let lines = [1, 4, 8, 9, 10];
    let reported: Vec<usize> = output.stderr.lines().filter_map(line_number).collect();
    assert_eq!(reported, lines, "{}", output.stderr);
    for nearest in ["default_account", "client_id", "device_code"] {
        assert!(output.stderr.contains(&format!("{nearest:?}")), "{nearest} is not named: {}", output.stderr);
    }
    assert!(!home.socket().exists(), "it listens all the same");
}

#[test]
fn a_mistake_does_not_repeat_what_may_be_a_secret() {
    let home = Home::new();
    home.configure(
        r#"[accounts.ci]
issuer = "https://login.example.com"
client_id = "ci"
grant = "client_credentials"
client_secret = "CANARY-pasted-secret"
"#,
    );
    let output = home.spawn("keyfobd", &[]).wait();
    assert_eq!(output.status, EX_CONFIG, "{}", output.stderr);
    assert!(output.stderr.contains(":5:"), "{}", output.stderr);
    assert!(!output.stderr.contains("CANARY"), "{}", output.stderr);
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let issuer = FakeIssuer::start(Settings::default());
    for mode in [0o620, 0o602] {
        let home = Home::new();
        home.write("config/keyfob/config.toml", &config::device_code(&issuer), mode);
        let output = home.spawn("keyfobd", &[]).wait();
        assert_eq!(output.status, EX_CONFIG, "{}", output.stderr);
        assert!(output.stderr.contains("chmod"), "{}", output.stderr);
    }
}

#[test]
fn an_unknown_account_is_answered_with_the_nearest_one() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let answer = daemon.api("GET", "/v1/accounts/prd/token");
    assert_eq!(answer.status, 404);
    let error: ErrorBody = answer.json();
    assert_eq!(error.error, ErrorCode::UnknownAccount);
    assert!(error.to_string().contains("prod"), "{error}");
    let output = daemon.shim(&["token", "prd"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Configuration as i32, ""));
    assert!(output.stderr.contains("prod"), "{}", output.stderr);
}

#[test]
fn a_reload_with_mistakes_changes_nothing_and_lists_them() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    daemon.home().configure("[accounts.prod]\ngrant = \"device_cod\"\nclient_id = 7\n");
    let answer = daemon.reload();
    assert_eq!(answer.status, ErrorCode::Misconfigured.status());
    let error: ErrorBody = answer.json();
    assert_eq!(error.error, ErrorCode::Misconfigured);
    let lines: Vec<usize> = error.details.iter().filter_map(|line| line_number(line)).collect();
    assert!(lines.contains(&2) && lines.contains(&3), "{error:?}");
    let output = daemon.shim(&["reload"]);
    assert_eq!(output.status, Exit::Configuration as i32, "{output:?}");
    assert_eq!(daemon.token("prod").access_token, token);
    let list: AccountList = daemon.api("GET", "/v1/accounts").json();
    assert_eq!(list.default_account.unwrap().as_str(), "prod");
}

#[test]
fn a_reload_without_a_configuration_ends_no_account() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    fs::remove_file(daemon.home().config()).unwrap();
    let reload = daemon.shim(&["reload"]);
    assert_eq!(reload.status, 7, "{reload:?}");
    assert!(reload.stderr.contains("config.toml"), "{}", reload.stderr);
    daemon.token("prod");
}

#[test]
fn a_reload_adds_and_removes_accounts_and_keeps_the_tokens_of_the_others() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&(config::device_code(&issuer) + &config::account("old", &issuer)));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    let requests = issuer.ledger().token_requests.len();
    daemon.home().configure(&(config::device_code(&issuer) + &config::account("new", &issuer)));
    let report: ReloadReport = daemon.reload().json();
    let names = |names: &[keyfob_protocol::account::AccountName]| -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&report.kept), ["prod"]);
    assert_eq!(names(&report.added), ["new"]);
    assert_eq!(names(&report.removed), ["old"]);
    assert_eq!(names(&report.changed), [""; 0]);
    assert_eq!(daemon.token("prod").access_token, token);
    assert_eq!(issuer.ledger().token_requests.len(), requests);
    assert_eq!(daemon.account("new").state, AccountState::SignedOut);
    assert_eq!(daemon.api("GET", "/v1/accounts/old/token").status, 404);
}

#[test]
fn a_hangup_signal_reloads() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.home().configure(&(config::device_code(&issuer) + &config::account("new", &issuer)));
    daemon.signal(Signal::HUP);
    eventually(SOON, "the new account", || {
        daemon.api("GET", "/v1/accounts").json::<AccountList>().accounts.len() == 2
    });
}

#[test]
fn tokens_of_one_client_are_not_used_for_another() {
    let clients = vec![Client::public("cli"), Client::public("other")];
    let issuer = FakeIssuer::start(Settings { clients, ..Settings::default() });
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let requests = issuer.ledger().token_requests.len();
    daemon.home().configure(&config::device_code(&issuer).replace("\"cli\"", "\"other\""));
    let report: ReloadReport = daemon.reload().json();
    assert_eq!(report.changed.len(), 1, "{report:?}");
    assert_eq!(daemon.account("prod").state, AccountState::SignedOut);
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    daemon.restart();
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    assert_eq!(issuer.ledger().token_requests.len(), requests, "the other client's token was presented");
}

#[test]
fn without_a_configuration_the_daemon_runs_and_a_reload_brings_the_first_account() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(HEAD.replace("default_account = \"prod\"", "").as_str());
    let daemon = Daemon::start_in(home);
    let list: AccountList = daemon.api("GET", "/v1/accounts").json();
    assert_eq!(list.accounts.len(), 0);
    fs::remove_file(daemon.home().config()).unwrap();
    daemon.home().configure(&config::device_code(&issuer));
    assert_eq!(daemon.reload().status, 200);
    daemon.log_in("prod");
}

/// Returns N of `...config.toml:N:...`.
fn line_number(line: &str) -> Option<usize> {
    let (_, after) = line.split_once("config.toml:")?;
    after.split(':').next()?.parse().ok()
}
