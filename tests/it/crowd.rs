//! A thousand clients at once find an expired token: a build farm after the lunch break.

use std::fs;
use std::time::Duration;

use integration_tests::callers;
use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::http::{Asked, Request, Response};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::raise_descriptor_limit;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::token::TokenResponse;

const CROWD: usize = 1_000;

#[test]
fn a_thousand_who_find_an_expired_token_cost_one_request_and_get_one_token_c4() {
    let issuer = issuer(Rotation::Strict);
    let daemon = expired(&issuer);
    issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::Delay(Duration::from_secs(2)));
    let answers = answers(crowd(&daemon));
    let tokens: Vec<String> = answers.iter().map(token).collect();
    assert!(issuer.honours(&tokens[0]));
    assert!(tokens.iter().all(|token| *token == tokens[0]), "not all got the same token");
    let ledger = issuer.ledger();
    assert_eq!(ledger.requests("refresh_token").len(), 1);
    assert_eq!((ledger.max_concurrent_token_requests, ledger.replayed().len()), (1, 0));
}

#[test]
fn a_thousand_share_one_failure_and_nobody_asks_again_at_once_c5() {
    let issuer = issuer(Rotation::Strict);
    let daemon = expired(&issuer);
    let failure = Reply::error(500, "server_error");
    issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(failure));
    issuer.hold(Endpoint::Token, Point::BeforeCommit);
    let crowd = crowd(&daemon);
    eventually(SOON, "the one request, and all who wait for it", || {
        issuer.held() == 1 && descriptors(&daemon) >= CROWD
    });
    // The one goes on; whatever comes after it does not get as far.
    issuer.hold(Endpoint::Token, Point::BeforeRead);
    let errors: Vec<ErrorBody> = answers(crowd).iter().map(error).collect();
    assert!(errors.iter().all(|error| error.error == ErrorCode::Unavailable), "{:?}", errors[0]);
    assert!(errors[0].message.contains("server_error"), "{:?}", errors[0]);
    assert!(errors.iter().all(|error| error.message == errors[0].message), "not all got the same reason");

    // Whoever asks at once is told the same, and there is one more attempt after a while, whoever asks.
    let after = error(&daemon.api("GET", "/v1/accounts/prod/token?wait=0"));
    assert_eq!(after.error, ErrorCode::Unavailable);
    eventually(SOON, "the next attempt", || issuer.held() == 1);
    issuer.mend();
    issuer.release();
    eventually(SOON, "a token", || daemon.api("GET", "/v1/accounts/prod/token").status == 200);
    let ledger = issuer.ledger();
    assert_eq!((ledger.max_concurrent_token_requests, ledger.replayed().len()), (1, 0));
}

#[test]
fn clients_that_ask_on_and_on_in_an_outage_cost_a_request_now_and_then_c5() {
    let issuer = issuer(Rotation::Repeated);
    let daemon = expired(&issuer);
    let failure = Reply::error(500, "server_error");
    issuer.break_every(Endpoint::Token, Point::BeforeReply, Fault::Answer(failure));
    eventually(SOON * 3, "four attempts", || {
        assert_eq!(daemon.api("GET", "/v1/accounts/prod/token").status, ErrorCode::Unavailable.status());
        issuer.ledger().requests("refresh_token").len() >= 4
    });
    let ledger = issuer.ledger();
    let times: Vec<Duration> = ledger.requests("refresh_token").iter().map(|request| request.at).collect();
    // No backoff is shorter: half a second is what full jitter is kept from going below.
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)), "{times:?}");
}

#[test]
fn a_thousand_who_wait_for_an_issuer_that_hangs_are_told_so_and_cost_one_request_c5() {
    let issuer = issuer(Rotation::Repeated);
    let daemon = expired(&issuer);
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    let errors: Vec<ErrorBody> = answers(crowd(&daemon)).iter().map(error).collect();
    assert!(errors.iter().all(|error| error.error == ErrorCode::Unavailable), "{:?}", errors[0]);
    assert!(errors.iter().all(|error| error.message == errors[0].message), "not all got the same reason");
    assert_eq!((issuer.held(), issuer.ledger().requests("refresh_token").len()), (1, 1));
    issuer.release();
    eventually(SOON, "the token that came late", || {
        daemon.api("GET", "/v1/accounts/prod/token?wait=0").status == 200
    });
    assert_eq!(issuer.ledger().max_concurrent_token_requests, 1);
}

#[test]
fn who_hangs_up_in_the_middle_of_a_renewal_cancels_it_for_nobody_c6() {
    let issuer = issuer(Rotation::Strict);
    let mut daemon = expired(&issuer);
    let before = descriptors(&daemon);
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    let mut crowd = crowd(&daemon);
    eventually(SOON, "all wait", || issuer.held() == 1 && descriptors(&daemon) >= before + CROWD);
    let last = crowd.pop().unwrap();
    drop(crowd);
    eventually(SOON, "they are gone", || descriptors(&daemon) < before + 10);
    issuer.release();
    let token = token(&last.response().unwrap());
    assert!(issuer.honours(&token));
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, token, "what it brought was not kept");
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    let ledger = issuer.ledger();
    assert!(ledger.revoked.contains(&live), "the new refresh token was lost");
    assert_eq!((ledger.requests("refresh_token").len(), ledger.replayed().len()), (1, 0));
}

/// Tokens that live for a little longer than the ten seconds that lie between two renewals.
fn issuer(rotation: Rotation) -> FakeIssuer {
    let access_lifetime = Duration::from_secs(11);
    FakeIssuer::start(Settings { access_lifetime, rotation, ..Settings::default() })
}

/// Returns a daemon that nobody has asked since its token expired.
#[track_caller]
fn expired(issuer: &FakeIssuer) -> Daemon {
    let daemon = Daemon::start(&config::device_code(issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    eventually(SOON, "the token has expired", || !issuer.honours(&token));
    daemon
}

/// Lets a thousand clients ask at once.
#[track_caller]
fn crowd(daemon: &Daemon) -> Vec<Asked> {
    raise_descriptor_limit();
    let request = Request { method: "GET", path: "/v1/accounts/prod/token", headers: &[], body: "" };
    let connected = callers::connect(&daemon.home().socket(), CROWD).into_iter();
    connected.map(|stream| Asked::over(stream, &request).unwrap()).collect()
}

fn answers(crowd: Vec<Asked>) -> Vec<Response> {
    crowd.into_iter().map(|asked| asked.response().unwrap()).collect()
}

#[track_caller]
fn token(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json::<TokenResponse>().access_token
}

#[track_caller]
fn error(answer: &Response) -> ErrorBody {
    assert_ne!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Returns how many files and connections a daemon has open.
fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.process().id())).unwrap().count()
}
