//! A server refuses a token that has not expired. What runs the token command here is this test's own process.

use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::{config, programs, shim};
use keyfob_protocol::token::{RejectionOutcome, RejectionReport};
use sha2::{Digest, Sha256};

#[test]
fn who_asks_again_for_a_token_that_was_taken_back_gets_one_that_works_and_its_burst_costs_one_renewal() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = token(&daemon);
    issuer.take_back(&first);
    let burst = found(SOON, "a burst that is refused", || {
        let mut burst: Vec<_> = (0..4).map(|_| shim::spawn(daemon.home(), &["token"])).collect();
        let tokens: Vec<_> = burst.iter_mut().map(|tool| tool.wait().stdout.trim_end().to_owned()).collect();
        // The five seconds may be over in the middle of one.
        (!tokens.contains(&first)).then_some(tokens)
    });
    assert!(issuer.honours(&burst[0]), "{burst:?}\n{}", daemon.log());
    assert!(burst.iter().all(|token| *token == burst[0]), "{burst:?}");
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 1);

    // It goes on asking, as if the new one were refused too.
    eventually(SOON, "the status says that it is no matter of renewal", || {
        assert_eq!(token(&daemon), burst[0]);
        daemon.account("prod").warnings.iter().any(|warning| warning.contains("not a matter of renewal"))
    });
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 1);
}

#[test]
fn a_shell_that_asks_again_has_been_refused_nothing() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let keyfob = programs::directory().join("keyfob");
    let mut command = daemon.home().command("sh");
    command.arg("-c").arg(format!("while :; do {keyfob:?} token || exit; done"));
    let shell = daemon.home().spawn_command(command);
    // What is no shell, beside it, and for as long.
    let other = FakeIssuer::start(Settings::default());
    let beside = Daemon::start(&config::device_code(&other));
    beside.log_in("prod");
    let first = token(&beside);
    eventually(SOON, "a renewal for what is no shell", || token(&beside) != first);
    assert!(shell.stdout().lines().count() > 2, "{}", shell.shown());
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 0);
}

#[test]
fn a_client_that_says_what_was_refused_has_that_renewed_and_nothing_else() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    assert_eq!(reject(&daemon, "another").outcome, RejectionOutcome::Superseded);
    // No two renewals within ten seconds, whoever asks.
    eventually(SOON, "a renewal", || reject(&daemon, &first).outcome == RejectionOutcome::Renewed);
    let second = daemon.token("prod").access_token;
    assert_ne!(second, first);
    assert_eq!(reject(&daemon, &first).outcome, RejectionOutcome::Superseded);
    let report = reject(&daemon, &second);
    assert_eq!(report.outcome, RejectionOutcome::Unchanged, "{report:?}");
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 1);
    assert_eq!(daemon.api("POST", "/v1/accounts/prod/token/rejected").status, 400);
}

#[track_caller]
fn token(daemon: &Daemon) -> String {
    let output = daemon.shim(&["token"]);
    assert_eq!(output.status, 0, "{}", output.stderr);
    output.stdout.trim_end().to_owned()
}

#[track_caller]
fn reject(daemon: &Daemon, token: &str) -> RejectionReport {
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = daemon.send("/v1/accounts/prod/token/rejected", &format!(r#"{{"sha256":"{hash}"}}"#));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}
