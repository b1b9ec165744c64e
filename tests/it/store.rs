//! Where the store's key is, apart from a keyring: a systemd credential, or nowhere. (A key file is what the other
//! stories use.)

use std::fs;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use keyfob_protocol::account::{AccountList, AccountState, Persistence};
use keyfob_protocol::daemon::KeyKind;

/// A key as an administrator would make it.
const KEY: &str = "6b6579666f62206b65792066696c6520746573742033322062797465732121ff";

#[test]
fn a_login_is_sealed_under_a_credential_that_systemd_hands_over() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start_in(home(&issuer, "credential"));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    assert_eq!(key(&daemon), KeyKind::Credential);
    assert!(!daemon.home().path("state/keyfob/key").exists());

    daemon.restart();
    assert_eq!(daemon.token("prod").access_token, token);
}

#[test]
fn another_credential_is_refused_and_overwrites_nothing() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start_in(home(&issuer, "credential"));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    daemon.stop();

    let wrong = KEY.replace('6', "7");
    daemon.home().write("credentials/keyfob-key", &wrong, 0o600);
    let refused = daemon.home().spawn("keyfobd", &[]).wait();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("put the key back"), "{}", refused.stderr);

    daemon.home().write("credentials/keyfob-key", KEY, 0o600);
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, token);
}

#[test]
fn a_login_in_memory_ends_with_the_daemon_and_status_says_so() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start_in(home(&issuer, "memory"));
    daemon.log_in("prod");
    assert_eq!(key(&daemon), KeyKind::Memory);
    assert_eq!(daemon.account("prod").persistence, Persistence::Volatile);
    assert!(daemon.shim(&["status"]).stdout.contains("end with the daemon"));

    daemon.restart();
    assert_eq!(daemon.account("prod").state, AccountState::SignedOut);
}

fn home(issuer: &FakeIssuer, key: &str) -> Home {
    let home = Home::new();
    fs::create_dir(home.path("credentials")).unwrap();
    home.write("credentials/keyfob-key", KEY, 0o600);
    home.configure(&format!("[store]\nkey = \"{key}\"\n{}", config::account("prod", issuer)));
    let credentials = home.path("credentials").display().to_string();
    home.set("CREDENTIALS_DIRECTORY", &credentials)
}

fn key(daemon: &Daemon) -> KeyKind {
    daemon.api("GET", "/v1/accounts").json::<AccountList>().store.key
}
