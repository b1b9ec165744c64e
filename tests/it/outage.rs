//! The issuer, or what stands before it, misbehaves: nobody loses a login by that.

use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{ExpiresIn, Rotation, Settings};
use integration_tests::patience::{self, SOON, eventually, found};
use keyfob_protocol::account::{AccountState, RenewalStatus};
use keyfob_protocol::error::{ErrorCode, Exit};
use keyfob_protocol::login::LoginState;
use keyfob_protocol::token::TokenResponse;

/// Long enough for the whole story, short enough that a client can ask for more life than a token has left.
const LIFETIME: Duration = Duration::from_secs(60);

#[test]
fn no_bad_answer_to_a_renewal_ends_a_login_or_takes_the_token_in_hand_i5() {
    let bad: Vec<(Point, Fault)> = bad_answers()
        .into_iter()
        .map(|reply| (Point::BeforeCommit, Fault::Answer(reply)))
        .chain([
            (Point::BeforeRead, Fault::HangUp),
            (Point::BeforeCommit, Fault::Reset),
            // From here on the issuer has replaced the refresh token, and the client may not know.
            (Point::BeforeReply, Fault::HangUp),
            (Point::BeforeReply, Fault::Garble),
            (Point::BeforeReply, Fault::Giant),
            (Point::BeforeReply, Fault::Answer(Reply::html(504, "Gateway Timeout"))),
            (Point::MidBody, Fault::HangUp),
        ])
        .collect();
    let issuers: Vec<FakeIssuer> = bad.iter().map(|(point, _)| issuer_with_grace_after(*point)).collect();
    let names: Vec<String> = (0..bad.len()).map(|number| format!("a{number}")).collect();
    let accounts = names.iter().zip(&issuers).map(|(name, issuer)| config::account(name, issuer));
    let daemon =
        Daemon::start(&accounts.fold(HEAD.replace("prod", "a0"), |config, account| config + &account));
    let tokens = daemon.log_all_in(&names);
    // Once: a refresh token that may have been spent is not presented over and over.
    for (issuer, (point, fault)) in issuers.iter().zip(&bad) {
        issuer.break_next(1, Endpoint::Token, *point, fault.clone());
    }
    for ((name, token), fault) in names.iter().zip(&tokens).zip(&bad) {
        eventually(SOON, &format!("a renewal fails by {fault:?}"), || {
            // Whoever waited for it is told. A retry may have brought another token before anybody looks.
            let served = daemon.token_with(name, MORE_LIFE).access_token;
            served != *token || daemon.account(name).last_error.is_some()
        });
        let account = daemon.account(name);
        assert_eq!(account.state, AccountState::SignedIn, "{fault:?}: {account:?}");
    }
    for (((name, issuer), token), fault) in names.iter().zip(&issuers).zip(&tokens).zip(&bad) {
        let renewed = found(SOON, &format!("a renewal after {fault:?}"), || {
            let served = daemon.token_with(name, MORE_LIFE).access_token;
            (served != *token).then_some(served)
        });
        assert!(issuer.honours(&renewed), "{fault:?}: {renewed}");
        assert!(issuer.ledger().families[0].alive, "{fault:?}");
        assert_eq!(daemon.account(name).last_error, None, "{fault:?}");
    }
}

/// What comes from a portal, a proxy, a firewall or a broken server in place of a token.
fn bad_answers() -> Vec<Reply> {
    let json = |text: &str| Reply::new(200, "application/json", text);
    let good = r#"{"access_token":"a","token_type":"Bearer"}"#;
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        Reply::html(200, "Welcome to our network"),
        Reply::html(403, "Blocked"),
        Reply::html(400, "invalid_grant"),
        Reply::html(502, "invalid_grant"),
        Reply::html(511, "Sign in to the network"),
        Reply::error(503, "temporarily_unavailable").with("retry-after", "1"),
        Reply::error(400, "an_error_of_its_own"),
        Reply::error(500, "server_error"),
        Reply::new(302, "text/plain", "").with("location", "/elsewhere"),
        Reply::new(204, "application/json", ""),
        Reply::new(200, "application/json", ""),
        Reply::new(200, "application/json", utf16),
        json("null"),
        json("[]"),
        json("{}"),
        json(&good.replace("a\"", "a\r\nb\"")),
        json(&good.replace(r#""a""#, r#""""#)),
        json(&good.replace(r#""a""#, "7")),
        json(&good.replace("Bearer", "mac")),
        json(&good[..good.len() - 1]),
        json(&format!("{good}{good}")),
        json(&"[".repeat(10_000)),
        json(&format!("{{\"a\":{}", "[".repeat(10_000))),
    ]
}

#[test]
fn an_issuer_that_does_not_know_us_any_more_costs_no_login_once_that_is_mended() {
    for reply in [Reply::html(404, "Not Found"), Reply::error(401, "invalid_client")] {
        let issuer = issuer_with_grace_after(Point::BeforeCommit);
        let daemon = Daemon::start(&config::device_code(&issuer));
        daemon.log_in("prod");
        let token = daemon.token("prod").access_token;
        issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(reply.clone()));
        eventually(SOON, &format!("a renewal fails by {reply:?}"), || {
            assert_eq!(daemon.token_with("prod", MORE_LIFE).access_token, token);
            daemon.account("prod").last_error.is_some()
        });
        assert_eq!(daemon.account("prod").last_error.unwrap().error.error, ErrorCode::Misconfigured);
        issuer.mend();
        assert_eq!(daemon.reload().status, 200);
        eventually(SOON, "a renewal after the reload", || daemon.token("prod").access_token != token);
    }
}

#[test]
fn answers_that_differ_within_the_rules_are_understood_6749_2_d7() {
    let default = || Settings { access_lifetime: LIFETIME, ..Settings::default() };
    let issuers = [
        Settings { expires_in: ExpiresIn::Text, ..default() },
        Settings { token_type: "bearer".to_owned(), ..default() },
        Settings { token_type: "BEARER".to_owned(), ..default() },
        Settings { rotation: Rotation::Omitted, ..default() },
        Settings { rotation: Rotation::Repeated, ..default() },
    ]
    .map(FakeIssuer::start);
    let names: Vec<String> = (0..issuers.len()).map(|number| format!("a{number}")).collect();
    let accounts = names.iter().zip(&issuers).map(|(name, issuer)| config::account(name, issuer));
    let daemon =
        Daemon::start(&accounts.fold(HEAD.replace("prod", "a0"), |config, account| config + &account));
    daemon.log_all_in(&names);
    for (name, issuer) in names.iter().zip(&issuers) {
        let times = daemon.account(name).access_token.unwrap();
        let lifetime = times.expires_at.unwrap().duration_since(times.issued_at);
        assert_eq!(lifetime.as_secs(), 60, "{name}");
        assert!(issuer.honours(&daemon.renew(name).access_token), "{name}");
    }
    // A refresh token that was not repeated is still good.
    assert!(issuers[3].honours(&daemon.renew("a3").access_token));
}

#[test]
fn a_token_without_a_lifetime_is_served_6749_4_d7() {
    let issuer = FakeIssuer::start(Settings { expires_in: ExpiresIn::Absent, ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod");
    assert_eq!((token.expires_at, token.expires_in), (None, None));
    assert!(issuer.honours(&token.access_token));
    assert_eq!(daemon.shim(&["token"]).stdout, format!("{}\n", token.access_token));
}

#[test]
fn an_issuer_that_is_gone_costs_nothing_until_the_token_expires() {
    let lifetime = Duration::from_secs(22);
    let issuer = FakeIssuer::start(Settings { access_lifetime: lifetime, ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    let before = patience::now();
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    drop(issuer);
    eventually(SOON, "a failed renewal", || daemon.account("prod").last_error.is_some());
    assert_eq!(daemon.shim(&["token"]).stdout, format!("{token}\n"));
    eventually(lifetime * 2, "the end of the token", || {
        let answer = daemon.api("GET", "/v1/accounts/prod/token?wait=0");
        answer.status != 200 || answer.json::<TokenResponse>().access_token != token
    });
    assert!(before.elapsed() >= lifetime, "a token that still worked was not served");
    let output = daemon.shim(&["token"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::Unavailable as i32, ""), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(daemon.account("prod").state, AccountState::SignedIn, "the login is not over");
}

#[test]
fn a_login_that_cannot_begin_says_why_and_can_be_tried_again() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let bad = Fault::Answer(Reply::html(502, "Bad Gateway"));
    issuer.break_every(Endpoint::DeviceAuthorization, Point::BeforeCommit, bad);
    daemon.api("POST", "/v1/accounts/prod/login");
    let LoginState::Failed { error } = daemon.login_outcome("prod") else { panic!("it did not fail") };
    assert_eq!(error.error, ErrorCode::Unavailable, "{error:?}");
    issuer.mend();
    daemon.log_in("prod");
}

#[test]
fn neither_a_captive_portal_nor_the_refusal_of_a_proxy_costs_the_login_d5() {
    let answers = [Reply::html(200, "Welcome to our network"), Reply::html(403, "Blocked by policy")];
    let issuers = [0, 1].map(|_| issuer_with_grace_after(Point::BeforeCommit));
    let names = ["portal", "proxy"].map(str::to_owned);
    let accounts = names.iter().zip(&issuers).map(|(name, issuer)| config::account(name, issuer));
    let mut daemon =
        Daemon::start(&accounts.fold(HEAD.replace("prod", "portal"), |config, account| config + &account));
    let tokens = daemon.log_all_in(&names);
    for (issuer, answer) in issuers.iter().zip(answers) {
        issuer.break_every(Endpoint::Token, Point::BeforeCommit, Fault::Answer(answer));
    }
    for (name, token) in names.iter().zip(&tokens) {
        eventually(SOON * 3, &format!("the third failure behind a {name}"), || {
            assert_eq!(daemon.token_with(name, MORE_LIFE).access_token, *token);
            matches!(daemon.account(name).renewal, RenewalStatus::Due { failures: 3.., .. })
        });
        assert_eq!(daemon.account(name).state, AccountState::SignedIn);
    }
    daemon.restart();
    issuers.iter().for_each(FakeIssuer::mend);
    for ((name, issuer), token) in names.iter().zip(&issuers).zip(&tokens) {
        let renewed = daemon.renew(name).access_token;
        assert!(renewed != *token && issuer.honours(&renewed), "{name}");
        assert_eq!(issuer.ledger().families.len(), 1, "{name}: somebody had to log in again");
    }
}

/// What comes before the commit must not cost a strict issuer's refresh token; what comes after it cannot be survived
/// without a grace time.
fn issuer_with_grace_after(point: Point) -> FakeIssuer {
    let rotation = match point {
        Point::BeforeRead | Point::BeforeCommit => Rotation::Strict,
        Point::BeforeReply | Point::MidBody => Rotation::Grace(Duration::from_secs(600)),
    };
    FakeIssuer::start(Settings { access_lifetime: LIFETIME, rotation, ..Settings::default() })
}
