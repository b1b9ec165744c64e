//! A person is still at the page with the code when the daemon ends, and the daemon comes back (RFC 8628).

use std::fs;
use std::path::PathBuf;

use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::{config, person};
use keyfob_protocol::account::AccountState;
use keyfob_protocol::login::{LoginState, LoginStatus};

#[test]
fn a_login_survives_the_end_of_the_daemon_and_a_crash_and_is_polled_no_faster_8628_9_d_2() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    issuer.slow_down(1);
    let prompt = daemon.begin_login("prod");
    let begun = fs::read(file(&daemon)).unwrap();
    eventually(SOON, "the grown interval is on disk", || fs::read(file(&daemon)).unwrap() != begun);
    assert_eq!(issuer.ledger().device_polls.len(), 1);
    daemon.restart();
    assert_eq!(daemon.begin_login("prod"), prompt, "another code after SIGTERM");
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.begin_login("prod"), prompt, "another code after SIGKILL");
    person::approve(&prompt.0, &prompt.1);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    assert!(issuer.honours(&daemon.token("prod").access_token));

    let ledger = issuer.ledger();
    let polls = &ledger.device_polls;
    let answers: Vec<_> = polls.iter().map(|poll| poll.answer.as_str()).collect();
    assert_eq!(answers, ["slow_down", "ok"]);
    assert!(polls.iter().all(|poll| !poll.early), "{polls:?}");
    assert_eq!((ledger.device_authorizations, ledger.families.len()), (1, 1));
    assert_eq!(ledger.violations, [""; 0]);
    eventually(SOON, "nothing is left of the login", || !file(&daemon).exists());
    assert_nowhere(&daemon, &polls[0].device_code);
}

#[test]
fn a_login_that_waits_is_on_disk_for_nobody_to_read() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.begin_login("prod");
    eventually(SOON, "a poll", || !issuer.ledger().device_polls.is_empty());
    let device_code = issuer.ledger().device_polls[0].device_code.clone();
    assert_nowhere(&daemon, &device_code);
    daemon.stop();
    assert!(file(&daemon).exists());
    assert_nowhere(&daemon, &device_code);
}

#[test]
fn a_cancelled_login_leaves_nothing_behind_and_does_not_come_back() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.begin_login("prod");
    assert!(file(&daemon).exists());
    let cancelled: LoginStatus = daemon.api("DELETE", "/v1/accounts/prod/login").json();
    assert_eq!(cancelled.login, LoginState::Cancelled);
    // Not a moment later.
    daemon.kill();
    assert!(!file(&daemon).exists());
    daemon.start_again();
    assert_eq!(daemon.account("prod").state, AccountState::SignedOut);
    let login = daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().login;
    assert_eq!(login, LoginState::Idle);
}

/// Returns the path of what rests of a pending login.
fn file(daemon: &Daemon) -> PathBuf {
    daemon.home().path("state/keyfob/accounts/prod.login")
}

/// Asserts that a secret is in no file of the home and in no line of the log.
#[track_caller]
fn assert_nowhere(daemon: &Daemon, secret: &str) {
    assert!(!daemon.log().contains(secret), "the log has it");
    let mut directories = vec![daemon.home().path("")];
    let mut looked = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(contents) = fs::read(&path) {
                looked += 1;
                let has_it = contents.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!has_it, "{} has it", path.display());
            }
        }
    }
    assert!(looked > 0, "there was no file to look into");
}
