//! The daemon dies, or one of its tasks does, at each step of a rotation.

use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::crash::{self, IN_MEMORY_ALONE, LIFETIME, STEPS};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::programs;
use keyfob_protocol::token::TokenResponse;

/// The grace that many issuers give.
const GRACE: Duration = Duration::from_secs(10);

/// How often each daemon is killed at its step.
const ROUNDS: usize = 3;

#[test]
fn the_program_that_is_installed_has_no_fail_points() {
    let home = Home::new();
    let mentions = |program: &std::path::Path| {
        let mut grep = home.command("grep");
        grep.args(["--text", "--count", "KEYFOB_FAILPOINTS"]).arg(program);
        home.spawn_command(grep).wait().stdout.trim() != "0"
    };
    assert!(mentions(programs::with_failpoints()), "that one should have them");
    assert!(!mentions(&programs::directory().join("keyfobd")));
}

#[test]
fn a_crash_at_any_step_of_a_renewal_loses_nothing_where_refresh_tokens_stay_r1() {
    for tally in crash::at_every_step(Rotation::Repeated, ROUNDS) {
        assert_eq!((tally.lost, tally.reported, tally.replays), (0, 0, 0), "{tally:?}");
    }
}

#[test]
fn a_crash_at_any_step_of_a_renewal_loses_nothing_within_the_grace_of_the_issuer_r1() {
    for tally in crash::at_every_step(Rotation::Grace(GRACE), ROUNDS) {
        let is_replayed = IN_MEMORY_ALONE.contains(&tally.step);
        assert_eq!((tally.lost, tally.reported), (0, 0), "{tally:?}");
        assert_eq!(tally.replays, usize::from(is_replayed), "{tally:?}");
    }
}

#[test]
fn a_crash_loses_a_login_of_a_strict_issuer_in_two_steps_alone_and_says_so_r1() {
    for tally in crash::at_every_step(Rotation::Strict, ROUNDS) {
        let is_lost = IN_MEMORY_ALONE.contains(&tally.step);
        let lost = if is_lost { ROUNDS } else { 0 };
        assert_eq!((tally.lost, tally.reported), (lost, lost), "{tally:?}");
        assert_eq!(tally.replays, usize::from(is_lost), "{tally:?}");
    }
}

#[test]
fn a_panic_at_any_step_of_a_renewal_is_that_accounts_trouble_alone_and_costs_no_login_and_tells_nothing_l6_r6()
 {
    std::thread::scope(|scope| {
        for step in STEPS {
            scope.spawn(move || panic_at(step));
        }
    });
}

fn panic_at(step: &str) {
    // Not while a token ages.
    programs::with_failpoints();
    // An answer that nothing but the memory of the task had is lost with it.
    let is_lost = IN_MEMORY_ALONE.contains(&step);
    let rotation = if is_lost { Rotation::Grace(GRACE) } else { Rotation::Strict };
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, rotation, ..Settings::default() });
    let other = FakeIssuer::start(Settings::default());
    let accounts = config::account("prod", &issuer) + &config::account("other", &other);
    let mut daemon = Daemon::start(&format!("{HEAD}{accounts}"));
    let before = daemon.log_all_in(&["prod", "other"].map(str::to_owned));
    daemon.stop();
    daemon.start_with(&format!("{step}=panic:1"));
    eventually(SOON, &format!("a panic at {step}"), || daemon.log().contains("the plan of the fail points"));

    assert_eq!(daemon.token("other").access_token, before[1], "{step}");
    let narrow = daemon.token_with("other", "scope=all").access_token;
    assert!(other.honours(&narrow), "{step}: another account cannot be renewed");
    let renewed = found(SOON, &format!("a renewal after a panic at {step}"), || {
        // A loaded machine may get to it when the token in hand has expired.
        let answer = daemon.api("GET", &format!("/v1/accounts/prod/token?{MORE_LIFE}&wait=0"));
        let token = (answer.status == 200).then(|| answer.json::<TokenResponse>().access_token);
        token.filter(|token| *token != before[0])
    });
    assert!(issuer.honours(&renewed), "{step}");
    let ledger = issuer.ledger();
    assert_eq!(ledger.replayed().len(), usize::from(is_lost), "{step}: {}", daemon.log());
    assert_eq!(renewed, ledger.access_tokens.last().unwrap().token, "{step}");
    eventually(SOON * 2, &format!("another token after a panic at {step}"), || {
        daemon.api("GET", "/v1/accounts/prod/token?scope=all").status == 200
    });
    let ledger = issuer.ledger();

    let log = daemon.log();
    assert!(log.contains("keyfobd: panicked at ") && !log.contains("CANARY"), "{step}: {log}");

    daemon.kill();
    daemon.start_again();
    let live = ledger.families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    assert!(issuer.ledger().revoked.contains(&live), "{step}: the refresh token was lost: {}", daemon.log());
}
