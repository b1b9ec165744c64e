//! The store's key in a real keyring, which locks, dies, hangs, or was never there.
//!
//! What must not happen is that tokens go to a quieter place than the one that was chosen.

use std::fs;
use std::time::Duration;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::keyring::Keyring;
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::Output;
use keyfob_protocol::account::{AccountList, AccountState, Persistence};
use keyfob_protocol::daemon::{KeyKind, StoreState, StoreStatus};

/// The shortest lifetime that keyfob renews ahead of: at half of it.
const LIFETIME: Duration = Duration::from_secs(20);

#[test]
fn a_restart_keeps_the_login_under_a_key_in_the_keyring() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Open));
    assert_eq!(daemon.account("prod").persistence, Persistence::Durable);

    daemon.restart();
    assert_eq!(daemon.token("prod").access_token, token);
    assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Open));
    assert_eq!(keyring.secrets(), 1);
    assert!(!has_key_file(&daemon));
}

#[test]
fn a_locked_keyring_is_never_a_quieter_store_and_opens_without_a_restart() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    daemon.stop();

    keyring.lock();
    daemon.start_again();
    is_locked(&daemon, "unlock the keyring");

    keyring.unlock();
    assert_eq!(token_soon(&daemon), token);
    assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Open));
    assert_eq!(issuer.ledger().families.len(), 1, "nobody logged in again");
}

#[test]
fn a_keyring_that_is_locked_at_the_first_start_is_waited_for() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    keyring.lock();
    let daemon = Daemon::start_in(home(&issuer, &keyring));
    is_locked(&daemon, "unlock the keyring");

    keyring.unlock();
    eventually(SOON, "an open store", || kept(&daemon) == (KeyKind::Keyring, StoreState::Open));
    daemon.log_in("prod");
    assert_eq!(daemon.shim(&["token", "prod"]).status, 0);
    assert!(!has_key_file(&daemon));
}

#[test]
fn a_keyring_that_was_chosen_and_is_gone_is_not_replaced() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    daemon.stop();

    keyring.die();
    daemon.start_again();
    is_locked(&daemon, "start it");

    keyring.start();
    assert_eq!(token_soon(&daemon), token);
    assert_eq!(issuer.ledger().families.len(), 1, "nobody logged in again");
}

#[test]
fn a_keyring_that_hangs_at_the_start_holds_nobody_up() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    daemon.stop();

    keyring.hang();
    daemon.start_again();
    is_locked(&daemon, "start it");

    keyring.resume();
    assert_eq!(token_soon(&daemon), token);
}

#[test]
fn where_there_is_no_keyring_the_key_is_in_a_file_and_status_says_so() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::absent();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    assert_eq!(kept(&daemon), (KeyKind::File, StoreState::Open));
    assert!(store(&daemon).note.is_some_and(|note| note.contains("file")));
    assert!(has_key_file(&daemon));

    keyring.start();
    daemon.restart();
    assert_eq!(daemon.token("prod").access_token, token, "the choice was made once");
    assert_eq!(keyring.secrets(), 0);
}

#[test]
fn a_keyring_that_dies_is_not_missed_by_tokens_and_their_rotation() {
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, ..Settings::default() });
    let keyring = Keyring::unlocked();
    let mut daemon = Daemon::start_in(home(&issuer, &keyring));
    daemon.log_in("prod");
    keyring.die();
    assert_eq!(daemon.shim(&["token", "prod"]).status, 0);
    eventually(LIFETIME * 3, "a rotation", || issuer.ledger().requests("refresh_token").len() == 1);
    assert_eq!(daemon.account("prod").persistence, Persistence::Durable);

    // What was rotated without the keyring is sealed under the key in it.
    daemon.stop();
    keyring.start();
    daemon.start_again();
    let token = token_soon(&daemon);
    assert!(issuer.honours(&token));
    assert!(issuer.ledger().replayed().is_empty());
}

#[test]
fn whatever_becomes_of_the_keyring_tokens_are_served_and_renewed_k4_k5() {
    let troubles = [Keyring::lock, Keyring::hang, Keyring::lose_the_bus];
    let remedies = [Keyring::unlock, Keyring::resume, Keyring::start];
    std::thread::scope(|scope| {
        for (trouble, remedy) in troubles.into_iter().zip(remedies) {
            scope.spawn(move || survives(trouble, remedy));
        }
    });
}

fn survives(trouble: fn(&Keyring), remedy: fn(&Keyring)) {
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, ..Settings::default() });
    let keyring = Keyring::unlocked();
    let (mut daemon, first) = signed_in(&issuer, &keyring);
    trouble(&keyring);
    assert_eq!(daemon.shim(&["token", "prod"]).stdout, format!("{first}\n"));
    eventually(LIFETIME * 3, "a rotation", || !issuer.ledger().requests("refresh_token").is_empty());
    eventually(SOON, "its token", || daemon.token("prod").access_token != first);
    assert_eq!(daemon.account("prod").persistence, Persistence::Durable);
    assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Open), "it has the key");

    daemon.restart();
    assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Locked));
    remedy(&keyring);
    assert!(issuer.honours(&token_soon(&daemon)));
    assert!(issuer.ledger().replayed().is_empty());
}

#[test]
fn a_key_that_was_removed_or_changed_by_hand_is_missed_and_costs_nothing_k6() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let (mut daemon, token) = signed_in(&issuer, &keyring);
    let key = keyring.secret("keyfob", "store-key").unwrap();
    let sealed = daemon.home().path("state/keyfob/accounts/prod.sealed");
    let before = fs::read(&sealed).unwrap();
    daemon.stop();
    for other in [None, Some(key.chars().rev().collect::<String>())] {
        keyring.forget("keyfob", "store-key");
        if let Some(other) = &other {
            keyring.keep("keyfob", "store-key", other);
        }
        daemon.start_again();
        assert_eq!(kept(&daemon), (KeyKind::Keyring, StoreState::Locked));
        let answer = daemon.shim(&["token", "prod"]);
        assert_eq!(answer.stdout, "");
        assert!(answer.stderr.contains("put the key back"), "{answer:?}");
        let login = daemon.shim(&["login", "prod"]);
        assert_ne!(login.status, 0, "{login:?}");
        assert_eq!(fs::read(&sealed).unwrap(), before, "it was written over");
        assert_eq!(keyring.secret("keyfob", "store-key"), other, "a new key was made");

        keyring.forget("keyfob", "store-key");
        keyring.keep("keyfob", "store-key", &key);
        assert_eq!(token_soon(&daemon), token);
        daemon.stop();
    }
    assert_eq!(issuer.ledger().families.len(), 1, "nobody logged in again");
}

/// Returns a daemon that somebody has logged in to, and the token that it gives.
#[track_caller]
fn signed_in(issuer: &FakeIssuer, keyring: &Keyring) -> (Daemon, String) {
    let daemon = Daemon::start_in(home(issuer, keyring));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    (daemon, token)
}

fn home(issuer: &FakeIssuer, keyring: &Keyring) -> Home {
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.bus_address());
    home.configure(&config::account("prod", issuer));
    home
}

fn store(daemon: &Daemon) -> StoreStatus {
    daemon.api("GET", "/v1/accounts").json::<AccountList>().store
}

fn kept(daemon: &Daemon) -> (KeyKind, StoreState) {
    let store = store(daemon);
    (store.key, store.state)
}

/// Checks that the store is locked, that it is said what to do about it, and that no other place was taken.
#[track_caller]
fn is_locked(daemon: &Daemon, remedy: &str) {
    assert_eq!(kept(daemon), (KeyKind::Keyring, StoreState::Locked));
    assert_eq!(daemon.account("prod").state, AccountState::Locked);
    let Output { status, stdout, stderr, .. } = daemon.shim(&["token", "prod"]);
    assert_eq!((status, stdout.as_str()), (4, ""), "{stderr}");
    assert!(stderr.contains(remedy) && stderr.lines().count() == 1, "{stderr:?}");
    assert!(!has_key_file(daemon));
}

fn has_key_file(daemon: &Daemon) -> bool {
    daemon.home().path("state/keyfob/key").exists()
}

/// Returns the token that the shim prints once the daemon has noticed that the keyring is open.
#[track_caller]
fn token_soon(daemon: &Daemon) -> String {
    eventually(SOON, "a token", || daemon.shim(&["token", "prod"]).status == 0);
    daemon.token("prod").access_token
}
