//! The issuer has replaced the refresh token, and its answer does not arrive; or what arrives is not what it should be.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, found};
use keyfob_protocol::account::{AccountState, RenewalStatus};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::login::LoginState;
use serde_json::json;

/// A life that is renewed ahead after some ten seconds: sooner after a login nothing is renewed.
const LIFETIME: Duration = Duration::from_secs(22);

/// The grace that many issuers give.
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn an_answer_that_gets_lost_costs_nothing_within_the_grace_of_the_issuer_r4() {
    let faults = [
        (Point::BeforeReply, Fault::HangUp),
        (Point::BeforeReply, Fault::Reset),
        (Point::MidBody, Fault::HangUp),
    ];
    let faults: Vec<_> = faults.iter().cycle().take(20).collect();
    let issuers: Vec<_> = faults.iter().map(|_| issuer(Rotation::Grace(GRACE), LIFETIME)).collect();
    let (mut daemon, names) = daemon(&issuers, "");
    let before = daemon.log_all_in(&names);
    for (issuer, (point, fault)) in issuers.iter().zip(&faults) {
        issuer.break_next(1, Endpoint::Token, *point, fault.clone());
    }
    for ((name, before), issuer) in names.iter().zip(&before).zip(&issuers) {
        let renewed = found(SOON, &format!("the renewal of {name}"), || {
            let token = daemon.token_with(name, "wait=0").access_token;
            (token != *before).then_some(token)
        });
        assert!(issuer.honours(&renewed), "{name}");
        let replays: Vec<usize> =
            issuer.ledger().replayed().iter().map(|token| token.replayed.len()).collect();
        assert_eq!(replays, [1], "{name}");
    }
    daemon.kill();
    daemon.start_again();
    for (name, issuer) in names.iter().zip(&issuers) {
        assert_holds_live(&daemon, name, issuer);
    }
}

#[test]
fn with_a_strict_issuer_a_token_in_doubt_is_kept_back_until_the_last_half_minute_r4() {
    let lifetime = Duration::from_secs(52);
    // The daemon counts from when it asked. How long the issuer took to hear of it is another matter.
    let kept_back = (lifetime - HALF_MINUTE) * 3 / 4;
    let issuers = [Point::BeforeReply, Point::BeforeCommit].map(|point| {
        let issuer = issuer(Rotation::Strict, lifetime);
        (issuer, point)
    });
    let ([(spent, _), (unspent, _)], names) = (&issuers, ["spent", "unspent"].map(str::to_owned));
    let accounts = config::account("spent", spent) + STRICT + &config::account("unspent", unspent) + STRICT;
    let daemon = Daemon::start(&format!("{}{accounts}", HEAD.replace("prod", "spent")));
    let before = daemon.log_all_in(&names);
    for (issuer, point) in &issuers {
        issuer.break_next(1, Endpoint::Token, *point, Fault::HangUp);
    }
    for name in &names {
        eventually(SOON, &format!("a renewal of {name} that gets lost"), || {
            daemon.token_with(name, MORE_LIFE);
            daemon.account(name).last_error.is_some()
        });
        // Whoever asks for more does not pull the retry forward.
        let stale = daemon.token_with(name, MORE_LIFE).stale.unwrap();
        assert_eq!(stale.error, ErrorCode::Unavailable, "{stale:?}");
    }
    assert!(spent.honours(&before[0]), "the access token that still worked was put at risk");
    assert_eq!(spent.ledger().replayed().len(), 0);

    let renewed = found(SOON * 2, "the retry where nothing was spent", || {
        let token = daemon.token("unspent").access_token;
        (token != before[1]).then_some(token)
    });
    assert!(unspent.honours(&renewed));
    let ledger = unspent.ledger();
    assert!(ledger.requests("refresh_token")[0].at - ledger.access_tokens[0].issued >= kept_back);

    eventually(SOON * 2, "the end of the login where it was", || {
        daemon.account("spent").renewal == RenewalStatus::Impossible
    });
    // It is served as long as it says it lives.
    let answer = daemon.api("GET", "/v1/accounts/spent/token");
    assert_eq!((answer.status, daemon.token("spent").access_token), (200, before[0].clone()));
    let error: ErrorBody = found(lifetime, "the end of the token", || {
        let answer = daemon.api("GET", "/v1/accounts/spent/token");
        (answer.status != 200).then(|| answer.json())
    });
    assert_eq!(error.error, ErrorCode::LoginRequired);
    assert!(error.message.contains("got lost"), "{error:?}");
    assert_eq!(daemon.account("spent").state, AccountState::AmbiguousRotation);
    let ledger = spent.ledger();
    let presented: Vec<Duration> =
        ledger.requests("refresh_token").iter().map(|request| request.at).collect();
    let born = ledger.access_tokens[0].issued;
    assert_eq!(presented.len(), 2, "one retry and no more");
    assert!(presented[1] - born >= kept_back, "{presented:?}");
}

#[test]
fn a_token_in_doubt_is_presented_twice_across_crashes_and_once_more_for_a_person_r4() {
    let issuers = [0, 1].map(|_| issuer(Rotation::Repeated, LIFETIME));
    let (mut daemon, names) = daemon(&issuers, "");
    daemon.log_all_in(&names);
    for issuer in &issuers {
        issuer.break_every(Endpoint::Token, Point::BeforeReply, Fault::HangUp);
    }
    let presented = |issuer: &FakeIssuer| issuer.ledger().requests("refresh_token").len();
    eventually(SOON, "the first presentations", || issuers.iter().all(|issuer| presented(issuer) >= 1));
    daemon.kill();
    daemon.start_again();
    for name in &names {
        eventually(LIFETIME * 2, &format!("the end of {name}"), || {
            daemon.account(name).state == AccountState::AmbiguousRotation
        });
    }
    daemon.kill();
    daemon.start_again();
    for (name, issuer) in names.iter().zip(&issuers) {
        assert_eq!(daemon.account(name).state, AccountState::AmbiguousRotation);
        let answer = daemon.api("GET", &format!("/v1/accounts/{name}/token"));
        assert_eq!(answer.json::<ErrorBody>().error, ErrorCode::LoginRequired);
        assert_eq!(presented(issuer), 2, "{name}");
    }

    // The person is there. Where the issuer answers, nobody is asked for anything.
    issuers[0].mend();
    daemon.api("POST", "/v1/accounts/a0/login");
    assert_eq!(daemon.login_outcome("a0"), LoginState::SignedIn);
    assert_eq!((presented(&issuers[0]), issuers[0].ledger().device_authorizations), (3, 1));
    // Where it does not, a login begins.
    let (page, code) = daemon.begin_login("a1");
    issuers[1].mend();
    integration_tests::person::approve(&page, &code);
    assert_eq!(daemon.login_outcome("a1"), LoginState::SignedIn);
    assert_eq!(presented(&issuers[1]), 3);
    for (name, issuer) in names.iter().zip(&issuers) {
        assert!(issuer.honours(&daemon.token(name).access_token), "{name}");
    }
}

#[test]
fn a_refresh_token_that_was_replaced_before_does_not_displace_the_one_in_force_r12() {
    let issuer = issuer(Rotation::Strict, LIFETIME);
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = issuer.ledger().families[0].live().unwrap().token.clone();
    daemon.token_with("prod", "scope=all");
    let second = issuer.ledger().families[0].live().unwrap().token.clone();
    assert_ne!(first, second);
    issuer.break_next(1, Endpoint::Token, Point::BeforeCommit, Fault::Answer(tokens(&json!(first))));
    eventually(SOON, "the token of that answer", || daemon.token("prod").access_token == MADE_UP);
    let narrow = daemon.token_with("prod", "scope=offline").access_token;
    assert!(issuer.honours(&narrow));
    let ledger = issuer.ledger();
    let last =
        ledger.requests("refresh_token").last().unwrap().parameter("refresh_token").unwrap().to_owned();
    assert_eq!((last, ledger.replayed().len()), (second, 0));
    assert_holds_live(&daemon, "prod", &issuer);
}

#[test]
fn an_issuer_that_hands_back_what_is_spent_in_its_grace_is_no_worse_than_one_without_r12() {
    let issuer = issuer(Rotation::GraceGivesBackSpent(Duration::from_secs(600)), LIFETIME);
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::HangUp);
    let renewed = found(SOON, "a renewal", || {
        let token = daemon.token("prod").access_token;
        (token != before).then_some(token)
    });
    assert!(issuer.honours(&renewed));
    assert_eq!(daemon.account("prod").state, AccountState::SignedIn);
    assert!(issuer.ledger().families[0].alive);
}

#[test]
fn an_answer_without_a_usable_refresh_token_leaves_the_old_one_in_force_r13() {
    let members =
        [None, Some(json!(null)), Some(json!(7)), Some(json!("")), Some(json!(["a"])), Some(json!({}))];
    let issuers: Vec<_> = members.iter().map(|_| issuer(Rotation::Strict, LIFETIME)).collect();
    let (mut daemon, names) = daemon(&issuers, "");
    daemon.log_all_in(&names);
    for (issuer, member) in issuers.iter().zip(&members) {
        let answer = member.as_ref().map_or_else(|| Reply::json(200, &without_refresh_token()), tokens);
        issuer.break_next(1, Endpoint::Token, Point::BeforeCommit, Fault::Answer(answer));
    }
    for (name, member) in names.iter().zip(&members) {
        eventually(SOON, &format!("the token beside {member:?}"), || {
            daemon.token(name).access_token == MADE_UP
        });
    }
    daemon.kill();
    daemon.start_again();
    for ((name, issuer), member) in names.iter().zip(&issuers).zip(&members) {
        let narrow = daemon.token_with(name, "scope=all").access_token;
        assert!(issuer.honours(&narrow), "{member:?}");
        assert_eq!(issuer.ledger().replayed().len(), 0, "{member:?}");
        assert_holds_live(&daemon, name, issuer);
    }
}

#[test]
fn no_byte_goes_to_another_origin_that_the_metadata_name_as_the_token_endpoint_r15() {
    let issuer = issuer(Rotation::Strict, LIFETIME);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    daemon.stop();
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let metadata = json!({
        "issuer": issuer.url(),
        "token_endpoint": format!("http://{}/token", trap.local_addr().unwrap()),
        "device_authorization_endpoint": format!("{}/device_authorization", issuer.url()),
        "response_types_supported": ["code"],
    });
    issuer.break_every(Endpoint::Metadata, Point::BeforeCommit, Fault::Answer(Reply::json(200, &metadata)));
    daemon.start_again();
    eventually(SOON, "a renewal fails", || {
        assert_eq!(daemon.token_with("prod", MORE_LIFE).access_token, token);
        daemon.account("prod").last_error.is_some()
    });
    let error = daemon.account("prod").last_error.unwrap().error;
    assert_eq!(error.error, ErrorCode::Misconfigured, "{error:?}");
    assert!(error.message.contains(&trap.local_addr().unwrap().to_string()), "{error:?}");
    assert_eq!(trap.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody was there");
    assert_eq!(issuer.ledger().requests("refresh_token").len(), 0);

    issuer.mend();
    daemon.restart();
    let renewed = daemon.renew("prod").access_token;
    assert!(issuer.honours(&renewed), "the login was lost");
    assert_eq!(trap.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "somebody was there");
}

/// The line of an account whose issuer ends logins over replays.
const STRICT: &str = "rotation = \"strict\"\n";

/// How long before its end a token of such an account is asked for once more.
const HALF_MINUTE: Duration = Duration::from_secs(30);

/// The access token of answers that no issuer gave.
const MADE_UP: &str = "made-up";

fn without_refresh_token() -> serde_json::Value {
    json!({"access_token": MADE_UP, "token_type": "Bearer", "expires_in": 3600})
}

/// Returns an answer with a made-up access token, and this as its refresh token.
fn tokens(refresh_token: &serde_json::Value) -> Reply {
    let mut body = without_refresh_token();
    body["refresh_token"] = refresh_token.clone();
    Reply::json(200, &body)
}

fn issuer(rotation: Rotation, access_lifetime: Duration) -> FakeIssuer {
    FakeIssuer::start(Settings { access_lifetime, rotation, ..Settings::default() })
}

/// Returns a daemon with an account for each issuer, and with these lines in each, and the names of the accounts.
#[track_caller]
fn daemon(issuers: &[FakeIssuer], lines: &str) -> (Daemon, Vec<String>) {
    let names: Vec<String> = (0..issuers.len()).map(|number| format!("a{number}")).collect();
    let accounts = names.iter().zip(issuers).map(|(name, issuer)| config::account(name, issuer) + lines);
    let config = accounts.fold(HEAD.replace("prod", "a0"), |config, account| config + &account);
    (Daemon::start(&config), names)
}

/// Asserts that the refresh token that the daemon holds is the live one, which shows when it hands it back.
#[track_caller]
fn assert_holds_live(daemon: &Daemon, account: &str, issuer: &FakeIssuer) {
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    daemon.api("DELETE", &format!("/v1/accounts/{account}/session"));
    assert!(
        issuer.ledger().revoked.contains(&live),
        "{account} holds another refresh token than the live one"
    );
}
