//! The daemon ends, by a crash or as it should, and comes back with the login.

use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Point};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::shim;
use keyfob_protocol::account::{AccountState, Persistence};
use keyfob_protocol::error::ErrorCode;
use rustix::process::Signal;

#[test]
fn a_daemon_that_was_killed_comes_back_with_the_login_and_asks_nobody() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    drop(issuer);
    for _ in 0..3 {
        daemon.kill();
        daemon.start_again();
        assert_eq!(daemon.token("prod").access_token, token);
    }
    let account = daemon.account("prod");
    assert_eq!((account.state, account.persistence), (AccountState::SignedIn, Persistence::Durable));
}

#[test]
fn a_stop_lets_a_renewal_finish_and_keeps_what_it_brought() {
    let issuer = strict_issuer();
    let mut daemon = in_mid_renewal(&issuer);
    daemon.signal(Signal::TERM);
    eventually(SOON, "the daemon takes no more requests", || daemon.try_api("GET", "/healthz").is_none());
    assert_eq!(issuer.held(), 1, "the renewal was cut off");
    issuer.release();
    let output = daemon.wait();
    assert_eq!(output.status, 0, "{}", output.stderr);
    daemon.start_again();
    let ledger = issuer.ledger();
    assert_eq!(daemon.token("prod").access_token, ledger.access_tokens.last().unwrap().token);
    assert_eq!(ledger.requests("refresh_token").len(), 1);
    let live = ledger.families[0].live().unwrap();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    assert!(issuer.ledger().revoked.contains(&live.token), "the new refresh token was lost");
}

#[test]
fn a_stop_in_the_middle_of_an_answer_keeps_the_refresh_token_in_it_d8() {
    let issuer = strict_issuer();
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    issuer.hold(Endpoint::Token, Point::MidBody);
    hold_a_renewal_of("prod", &daemon, &issuer);
    daemon.signal(Signal::TERM);
    eventually(SOON, "the daemon takes no more requests", || daemon.try_api("GET", "/healthz").is_none());
    issuer.release();
    assert_eq!(daemon.wait().status, 0, "{}", daemon.log());
    let ledger = issuer.ledger();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, ledger.access_tokens.last().unwrap().token);
    let live = ledger.families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    let ledger = issuer.ledger();
    assert!(ledger.revoked.contains(&live), "the new refresh token was lost");
    assert_eq!((ledger.requests("refresh_token").len(), ledger.replayed().len()), (1, 0));
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let issuer = strict_issuer();
    let mut daemon = in_mid_renewal(&issuer);
    daemon.signal(Signal::TERM);
    eventually(SOON, "the daemon takes no more requests", || daemon.try_api("GET", "/healthz").is_none());
    daemon.signal(Signal::TERM);
    daemon.wait();
    let log = daemon.log();
    assert!(!log.contains("renewed") && !log.contains("renewal failed"), "it waited for the renewal:\n{log}");
}

#[test]
fn a_crash_within_the_grace_time_of_the_issuer_loses_nothing() {
    let issuer = FakeIssuer::start(Settings {
        access_lifetime: Duration::from_secs(60),
        rotation: Rotation::Grace(Duration::from_secs(600)),
        ..Settings::default()
    });
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    hold_a_renewal(&daemon, &issuer);
    daemon.kill();
    issuer.release();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, token, "the old token still works");
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    assert!(issuer.ledger().families[0].alive);
}

#[test]
fn a_crash_before_the_issuer_has_rotated_loses_nothing() {
    let points = [("a", Point::BeforeRead), ("b", Point::BeforeCommit)];
    let issuers = points.map(|_| strict_issuer());
    let accounts = points.iter().zip(&issuers).map(|((name, _), issuer)| config::account(name, issuer));
    let mut daemon =
        Daemon::start(&accounts.fold(HEAD.replace("prod", "a"), |config, account| config + &account));
    for ((name, point), issuer) in points.iter().zip(&issuers) {
        daemon.log_in(name);
        issuer.hold(Endpoint::Token, *point);
    }
    for ((name, _), issuer) in points.iter().zip(&issuers) {
        hold_a_renewal_of(name, &daemon, issuer);
    }
    daemon.kill();
    issuers.iter().for_each(FakeIssuer::release);
    daemon.start_again();
    for ((name, point), issuer) in points.iter().zip(&issuers) {
        assert!(issuer.honours(&daemon.renew(name).access_token), "{point:?}");
        assert_eq!(issuer.ledger().replayed().len(), 0, "{point:?}");
    }
}

#[test]
fn a_crash_after_a_strict_issuer_has_rotated_is_a_lost_login_that_is_named() {
    let issuer = strict_issuer();
    let mut daemon = in_mid_renewal(&issuer);
    daemon.kill();
    issuer.release();
    daemon.start_again();
    eventually(SOON, "the renewal is refused", || {
        let answer = daemon.token_with("prod", MORE_LIFE);
        answer.stale.is_some_and(|why| why.error == ErrorCode::LoginRequired)
    });
    let replays: usize = issuer.ledger().replayed().iter().map(|token| token.replayed.len()).sum();
    assert_eq!(replays, 1, "a spent refresh token is presented once more, not over and over");
    daemon.log_in("prod");
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn keyfob_stop_ends_the_daemon_and_the_login_stays() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    let stop = shim::run(daemon.home(), &["stop"]);
    assert_eq!(stop.status, 0, "{}", stop.stderr);
    assert_eq!(daemon.wait().status, 0);
    let absent = shim::run(daemon.home(), &["token", "--no-autostart"]);
    assert_eq!((absent.status, absent.stdout.as_str()), (5, ""), "{}", absent.stderr);
    // The next one who asks starts it again.
    let asked = shim::run(daemon.home(), &["token"]);
    assert_eq!((asked.status, asked.stdout), (0, format!("{token}\n")), "{}", asked.stderr);
    assert_eq!(shim::run(daemon.home(), &["stop"]).status, 0);
    eventually(SOON, "the end of the daemon that the shim started", || {
        daemon.try_api("GET", "/healthz").is_none()
    });
}

/// Returns a daemon that somebody has logged in to, and whose renewal waits for the issuer's answer.
#[track_caller]
fn in_mid_renewal(issuer: &FakeIssuer) -> Daemon {
    let daemon = Daemon::start(&config::device_code(issuer));
    daemon.log_in("prod");
    hold_a_renewal(&daemon, issuer);
    daemon
}

/// Waits until a renewal has changed the issuer's books and waits for its answer.
#[track_caller]
fn hold_a_renewal(daemon: &Daemon, issuer: &FakeIssuer) {
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    hold_a_renewal_of("prod", daemon, issuer);
}

#[track_caller]
fn hold_a_renewal_of(account: &str, daemon: &Daemon, issuer: &FakeIssuer) {
    let impatient = format!("{MORE_LIFE}&wait=0");
    eventually(SOON, "a renewal under way", || {
        daemon.token_with(account, &impatient);
        issuer.held() == 1
    });
}

fn strict_issuer() -> FakeIssuer {
    FakeIssuer::start(Settings {
        access_lifetime: Duration::from_secs(60),
        rotation: Rotation::Strict,
        ..Settings::default()
    })
}
