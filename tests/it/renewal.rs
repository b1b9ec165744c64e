//! Tokens are renewed before anybody misses them.

use std::time::Duration;

use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use keyfob_protocol::account::{AccountState, RenewalStatus};
use keyfob_protocol::error::ErrorCode;

#[test]
fn a_token_is_renewed_before_it_expires_although_nobody_asks() {
    let issuer = living(Duration::from_secs(24));
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    eventually(SOON, "a renewal", || issuer.ledger().requests("refresh_token").len() == 1);
    assert!(issuer.honours(&first), "the renewal came too late");
    eventually(SOON, "its token", || daemon.token("prod").access_token != first);
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert!(matches!(daemon.account("prod").renewal, RenewalStatus::Due { failures: 0, .. }));
}

#[test]
fn a_short_lived_token_is_renewed_when_somebody_asks_and_not_all_the_time() {
    let issuer = living(Duration::from_secs(11));
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    assert!(matches!(daemon.account("prod").renewal, RenewalStatus::OnDemand { .. }));
    eventually(SOON, "the token has expired", || !issuer.honours(&first));
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 0);
    assert_ne!(daemon.token("prod").access_token, first);
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 1);
}

#[test]
fn a_rotated_refresh_token_is_on_disk_before_its_access_token_is_served_6749_6() {
    let issuer = living(Duration::from_secs(60));
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let renewed = daemon.renew("prod").access_token;
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, renewed);
    // Which refresh token it has shows when it gives it back.
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    assert!(issuer.ledger().revoked.contains(&live), "it holds a refresh token that is not the live one");
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

#[test]
fn a_refused_refresh_token_ends_the_login_but_not_the_token_in_hand() {
    let issuer = living(Duration::from_secs(60));
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    issuer.break_every(
        Endpoint::Token,
        Point::BeforeCommit,
        Fault::Answer(Reply::error(400, "invalid_grant")),
    );
    eventually(SOON, "the refusal", || {
        let answer = daemon.token_with("prod", MORE_LIFE);
        assert_eq!(answer.access_token, token);
        answer.stale.is_some_and(|why| why.error == ErrorCode::LoginRequired)
    });
    let account = daemon.account("prod");
    assert_eq!((account.state, account.renewal), (AccountState::SignedIn, RenewalStatus::Impossible));
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_issuer_d6() {
    let issuer = living(Duration::from_secs(11));
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let refusal =
        r#"{"error":"invalid_grant","error_description":"ended by Ann","error_uri":"https://h/e7"}"#;
    let refusal = Reply::new(400, "application/json", refusal);
    issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(refusal));
    eventually(SOON, "the end of the login", || {
        daemon.api("GET", "/v1/accounts/prod/token").status == ErrorCode::LoginRequired.status()
    });
    let words = "invalid_grant (ended by Ann; see https://h/e7)";
    let error = daemon.account("prod").last_error.unwrap().error;
    assert_eq!(error.error, ErrorCode::LoginRequired);
    assert!(error.message.contains(words), "{error:?}");
    let output = daemon.shim(&["token"]);
    assert!(output.stderr.contains(words) && output.stderr.contains("keyfob login prod"), "{output:?}");
    let status = daemon.shim(&["status"]).stdout;
    assert!(status.contains(words), "{status}");
    assert!(daemon.log().contains(words), "{}", daemon.log());
}

#[test]
fn a_login_that_the_issuer_has_ended_asks_for_another_and_stays_ended() {
    let issuer = living(Duration::from_secs(11));
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    issuer.end_all_logins();
    eventually(SOON, "the end of the login", || {
        daemon.api("GET", "/v1/accounts/prod/token").status == ErrorCode::LoginRequired.status()
    });
    assert_eq!(daemon.account("prod").state, AccountState::Refused);
    let requests = issuer.ledger().requests("refresh_token").len();
    daemon.restart();
    let output = daemon.shim(&["token"]);
    assert_eq!(output.status, 3, "{output:?}");
    assert_eq!(issuer.ledger().requests("refresh_token").len(), requests, "a refused token was tried again");
}

#[test]
fn tokens_that_live_for_a_minute_or_less_make_no_storm_of_renewals_d1() {
    let lifetimes = [60, 30, 20, 10, 5, 1].map(Duration::from_secs);
    let issuers = lifetimes.map(living);
    let names: Vec<String> = lifetimes.iter().map(|life| format!("a{}", life.as_secs())).collect();
    let accounts = names.iter().zip(&issuers).map(|(name, issuer)| config::account(name, issuer));
    let config = accounts.fold(config::HEAD.replace("prod", "a60"), |config, account| config + &account);
    let daemon = Daemon::start(&config);
    daemon.log_all_in(&names);
    eventually(SOON * 3, "two renewals each, however often somebody asks", || {
        for name in &names {
            daemon.api("GET", &format!("/v1/accounts/{name}/token?{MORE_LIFE}&wait=0"));
        }
        issuers.iter().all(|issuer| issuer.ledger().requests("refresh_token").len() >= 2)
    });
    for (name, issuer) in names.iter().zip(&issuers) {
        let ledger = issuer.ledger();
        let times: Vec<Duration> =
            ledger.token_requests.iter().filter(|it| it.outcome == "ok").map(|it| it.at).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        // The daemon leaves ten seconds from when it asked; when the issuer got to it is another matter.
        assert!(gaps.min().unwrap() >= Duration::from_secs(5), "{name}: {times:?}");
    }
}

fn living(access_lifetime: Duration) -> FakeIssuer {
    FakeIssuer::start(Settings { access_lifetime, rotation: Rotation::Strict, ..Settings::default() })
}
