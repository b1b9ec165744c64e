//! The fake issuer itself, by raw HTTP: a judge must be right before it judges.

use std::io;
use std::time::Duration;

use integration_tests::http::{self, Request, Response};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, GIANT, Point};
use integration_tests::issuer::mix::Mix;
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Client, Discovery, ExpiresIn, Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::person;
use serde_json::Value;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[test]
fn a_device_code_becomes_tokens_once_a_person_has_approved_it() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let device = begin(&issuer);
    assert_eq!(poll(&issuer, &device)["error"], "authorization_pending");
    person::approve(text(&device, "verification_uri_complete"), text(&device, "user_code"));
    let tokens = poll(&issuer, &device);
    assert!(text(&tokens, "access_token").starts_with("CANARY-AT-"), "{tokens}");
    assert!(text(&tokens, "refresh_token").starts_with("CANARY-RT-"), "{tokens}");
    assert!(issuer.honours(text(&tokens, "access_token")));
    assert_eq!(poll(&issuer, &device)["error"], "invalid_grant", "a device code works once");
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn a_person_can_deny_a_device_code() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let device = begin(&issuer);
    person::deny(text(&device, "verification_uri"), text(&device, "user_code"));
    assert_eq!(poll(&issuer, &device)["error"], "access_denied");
}

#[test]
fn a_poll_before_its_interval_is_told_to_slow_down_and_goes_into_the_ledger() {
    let issuer = FakeIssuer::start(Settings { device_interval: None, ..Settings::default() });
    let device = begin(&issuer);
    assert_eq!(poll(&issuer, &device)["error"], "authorization_pending");
    assert_eq!(poll(&issuer, &device)["error"], "slow_down");
    let early: Vec<bool> = issuer.ledger().device_polls.iter().map(|poll| poll.early).collect();
    assert_eq!(early, [false, true]);
}

#[test]
fn a_device_code_expires() {
    let issuer = FakeIssuer::start(Settings { device_expires_in: 0, ..at_once(Rotation::Strict) });
    assert_eq!(poll(&issuer, &begin(&issuer))["error"], "expired_token");
}

#[test]
fn strict_rotation_ends_the_login_when_a_replaced_refresh_token_comes_again() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let first = log_in(&issuer);
    let second = refresh(&issuer, text(&first, "refresh_token"));
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert!(issuer.ledger().lost(text(&first, "refresh_token")));
    assert!(!issuer.ledger().lost(text(&second, "refresh_token")));
    assert_eq!(refresh(&issuer, text(&first, "refresh_token"))["error"], "invalid_grant");
    assert_eq!(issuer.ledger().replayed().len(), 1);
    assert_eq!(refresh(&issuer, text(&second, "refresh_token"))["error"], "invalid_grant");
    assert!(!issuer.honours(text(&second, "access_token")));
}

#[test]
fn within_the_grace_time_a_replaced_refresh_token_gives_the_same_successor() {
    let issuer = FakeIssuer::start(at_once(Rotation::Grace(Duration::from_secs(600))));
    let first = log_in(&issuer);
    let second = refresh(&issuer, text(&first, "refresh_token"));
    let again = refresh(&issuer, text(&first, "refresh_token"));
    assert_eq!(second["refresh_token"], again["refresh_token"]);
    assert_ne!(second["access_token"], again["access_token"]);
    let third = refresh(&issuer, text(&second, "refresh_token"));
    assert!(third["refresh_token"].is_string(), "{third}");
    assert_eq!(refresh(&issuer, text(&first, "refresh_token"))["error"], "invalid_grant", "two steps back");
}

#[test]
fn an_issuer_may_give_the_spent_refresh_token_back_within_the_grace_time() {
    let issuer = FakeIssuer::start(at_once(Rotation::GraceGivesBackSpent(Duration::from_secs(600))));
    let first = log_in(&issuer);
    let second = refresh(&issuer, text(&first, "refresh_token"));
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let again = refresh(&issuer, text(&first, "refresh_token"));
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    assert_ne!(second["access_token"], again["access_token"]);
    assert!(!issuer.ledger().lost(text(&second, "refresh_token")), "the successor is still the live one");
}

#[test]
fn after_the_grace_time_a_replaced_refresh_token_ends_the_login() {
    let issuer = FakeIssuer::start(at_once(Rotation::Grace(Duration::ZERO)));
    let first = log_in(&issuer);
    refresh(&issuer, text(&first, "refresh_token"));
    assert_eq!(refresh(&issuer, text(&first, "refresh_token"))["error"], "invalid_grant");
}

#[test]
fn without_rotation_a_refresh_token_stays_good() {
    for (rotation, repeated) in [(Rotation::Omitted, false), (Rotation::Repeated, true)] {
        let issuer = FakeIssuer::start(at_once(rotation));
        let first = log_in(&issuer);
        for _ in 0..2 {
            let answer = refresh(&issuer, text(&first, "refresh_token"));
            assert!(answer["access_token"].is_string(), "{answer}");
            assert_eq!(answer.get("refresh_token"), repeated.then_some(&first["refresh_token"]));
        }
        assert!(!issuer.ledger().lost(text(&first, "refresh_token")));
    }
}

#[test]
fn a_lifetime_is_told_as_the_settings_say() {
    let issuer = FakeIssuer::start(at_once(Rotation::Repeated));
    let login = log_in(&issuer);
    let told = |told| {
        issuer.change(|settings| settings.expires_in = told);
        refresh(&issuer, text(&login, "refresh_token")).get("expires_in").cloned()
    };
    assert_eq!(told(ExpiresIn::Number), Some(3600.into()));
    assert_eq!(told(ExpiresIn::Text), Some("3600".into()));
    assert_eq!(told(ExpiresIn::Absent), None);
}

#[test]
fn an_access_token_is_honoured_until_it_expires() {
    let issuer = FakeIssuer::start(Settings { access_lifetime: Duration::ZERO, ..at_once(Rotation::Strict) });
    let login = log_in(&issuer);
    assert!(!issuer.honours(text(&login, "access_token")));
}

#[test]
fn a_client_authenticates_as_it_is_registered_and_in_no_other_way() {
    let secret = "CANARY: 100%+ä";
    let issuer = FakeIssuer::start(Settings {
        clients: vec![Client::basic("basic", secret), Client::post("post", secret), Client::public("cli")],
        ..Settings::default()
    });
    // basic:CANARY%3A+100%25%2B%C3%A4
    let header = "Basic YmFzaWM6Q0FOQVJZJTNBKzEwMCUyNSUyQiVDMyVBNA==";
    let ask = |headers: &[(&str, &str)], fields: &[(&str, &str)]| {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(fields);
        let answer = http::post_form(&format!("{}/token", issuer.url()), headers, &form).unwrap();
        (answer.status, answer.json::<Value>()["error"].as_str().unwrap_or("ok").to_owned())
    };
    let ok = (200, "ok".to_owned());
    let refused = (401, "invalid_client".to_owned());
    let basic: &[_] = &[("authorization", header)];
    assert_eq!(ask(basic, &[]), ok);
    assert_eq!(ask(&[], &[("client_id", "post"), ("client_secret", secret)]), ok);
    assert_eq!(ask(&[], &[("client_id", "basic"), ("client_secret", secret)]), refused);
    assert_eq!(ask(&[], &[("client_id", "post"), ("client_secret", "wrong")]), refused);
    assert_eq!(ask(&[], &[("client_id", "cli")]), (400, "unauthorized_client".to_owned()));
    assert_eq!(issuer.ledger().violations, [""; 0]);
    assert_eq!(ask(basic, &[("client_secret", secret)]), (400, "invalid_request".to_owned()));
    assert_eq!(issuer.ledger().violations.len(), 1, "both at once is a violation");
}

#[test]
fn what_the_rfc_forbids_goes_into_the_ledger() {
    let issuer = FakeIssuer::start(Settings::default());
    let token = format!("{}/token", issuer.url());
    let violations = || issuer.ledger().violations.len();
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (method, path, headers, body) in [
        ("GET", "/token", form, ""),
        ("POST", "/token?client_id=cli", form, "client_id=cli&grant_type=refresh_token"),
        ("POST", "/token", ("content-type", "application/json"), "{}"),
        ("POST", "/token", form, "client_id=cli&scope=&grant_type=refresh_token"),
        ("POST", "/token", form, "client_id=cli&client_id=cli&grant_type=refresh_token"),
        ("POST", "/token", form, "grant_type=refresh_token"),
    ] {
        let before = violations();
        let request = Request { method, path, headers: &[headers], body };
        assert_eq!(http::over_tcp(&token, &request).unwrap().status, 400, "{method} {path} {body}");
        assert_eq!(violations(), before + 1, "{method} {path} {body}");
    }
}

#[test]
fn revoking_a_refresh_token_ends_its_login() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    let revoke = |token: &str| {
        let fields = [("token", token), ("client_id", "cli")];
        http::post_form(&format!("{}/revoke", issuer.url()), &[], &fields).unwrap().status
    };
    assert_eq!(revoke("nobody knows this one"), 200);
    assert!(issuer.honours(text(&login, "access_token")));
    assert_eq!(revoke(text(&login, "refresh_token")), 200);
    assert!(!issuer.honours(text(&login, "access_token")));
    assert_eq!(refresh(&issuer, text(&login, "refresh_token"))["error"], "invalid_grant");
}

#[test]
fn the_metadata_is_where_the_settings_say() {
    let issuer = FakeIssuer::start(Settings::default());
    let found = |discovery| {
        issuer.change(|settings| settings.discovery = discovery);
        ["oauth-authorization-server", "openid-configuration"]
            .map(|name| http::get(&format!("{}/.well-known/{name}", issuer.url())).unwrap().status)
    };
    assert_eq!(found(Discovery::OAuth), [200, 404]);
    assert_eq!(found(Discovery::OpenId), [404, 200]);
    assert_eq!(found(Discovery::Both), [200, 200]);
    assert_eq!(found(Discovery::Nowhere), [404, 404]);
}

#[test]
fn a_fault_before_the_commit_spends_nothing() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    let token = text(&login, "refresh_token");
    for point in [Point::BeforeRead, Point::BeforeCommit] {
        issuer.break_next(1, Endpoint::Token, point, Fault::Answer(Reply::html(502, "Bad Gateway")));
        assert_eq!(try_refresh(&issuer, token).unwrap().status, 502);
        issuer.break_next(1, Endpoint::Token, point, Fault::HangUp);
        assert!(try_refresh(&issuer, token).is_err());
        assert!(!issuer.ledger().lost(token));
    }
    assert!(refresh(&issuer, token)["access_token"].is_string());
}

#[test]
fn a_fault_after_the_commit_costs_the_refresh_token() {
    for (point, fault) in [
        (Point::BeforeReply, Fault::HangUp),
        (Point::BeforeReply, Fault::Answer(Reply::html(200, "Welcome to our network"))),
        (Point::BeforeReply, Fault::Garble),
        (Point::MidBody, Fault::HangUp),
        (Point::MidBody, Fault::Garble),
    ] {
        let issuer = FakeIssuer::start(at_once(Rotation::Strict));
        let login = log_in(&issuer);
        issuer.break_next(1, Endpoint::Token, point, fault.clone());
        let answer = try_refresh(&issuer, text(&login, "refresh_token"));
        let read = answer.ok().and_then(|answer| serde_json::from_str::<Value>(&answer.body).ok());
        assert_eq!(read, None, "{fault:?} at {point:?}");
        assert!(issuer.ledger().lost(text(&login, "refresh_token")), "{fault:?} at {point:?}");
    }
}

#[test]
fn a_connection_that_is_cut_in_the_middle_of_a_body_has_sent_half_of_it() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    issuer.break_next(1, Endpoint::Token, Point::MidBody, Fault::HangUp);
    let error = try_refresh(&issuer, text(&login, "refresh_token")).unwrap_err();
    assert_eq!(error.to_string(), "the body is cut short");
}

#[test]
fn a_giant_answer_is_well_formed() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::Giant);
    let answer = try_refresh(&issuer, text(&login, "refresh_token")).unwrap();
    assert!(answer.body.len() > GIANT);
    assert!(answer.json::<Value>()["access_token"].is_string());
}

#[test]
fn a_delay_changes_nothing_else() {
    let issuer = FakeIssuer::start(at_once(Rotation::Repeated));
    let login = log_in(&issuer);
    for point in [Point::BeforeRead, Point::BeforeCommit, Point::BeforeReply, Point::MidBody] {
        issuer.break_next(1, Endpoint::Token, point, Fault::Delay(Duration::from_millis(1)));
        let answer = refresh(&issuer, text(&login, "refresh_token"));
        assert!(answer["access_token"].is_string(), "{answer}");
    }
}

#[test]
fn a_held_exchange_waits_until_it_is_released() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    let token = text(&login, "refresh_token");
    for (point, committed) in
        [(Point::BeforeCommit, false), (Point::BeforeReply, true), (Point::MidBody, true)]
    {
        let requests = issuer.ledger().requests("refresh_token").len();
        let live = issuer.ledger().families[0].live().unwrap().token.clone();
        issuer.hold(Endpoint::Token, point);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| try_refresh(&issuer, &live));
            eventually(SOON, "the request is held", || issuer.held() == 1);
            assert_eq!(issuer.ledger().requests("refresh_token").len() > requests, committed, "{point:?}");
            issuer.release();
            assert_eq!(held.join().unwrap().unwrap().status, 200);
        });
    }
    assert!(issuer.ledger().lost(token));
}

#[test]
fn requests_at_once_are_counted() {
    let issuer = FakeIssuer::start(at_once(Rotation::Repeated));
    let login = log_in(&issuer);
    assert_eq!(issuer.ledger().max_concurrent_token_requests, 1);
    issuer.hold(Endpoint::Token, Point::BeforeRead);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| refresh(&issuer, text(&login, "refresh_token")));
        }
        eventually(SOON, "all three are held", || issuer.held() == 3);
        issuer.release();
    });
    assert_eq!(issuer.ledger().max_concurrent_token_requests, 3);
}

#[test]
fn a_connection_that_is_reset_is_no_end_of_a_connection() {
    let issuer = FakeIssuer::start(at_once(Rotation::Strict));
    let login = log_in(&issuer);
    let token = text(&login, "refresh_token");
    for (point, lost) in
        [(Point::BeforeRead, false), (Point::BeforeCommit, false), (Point::BeforeReply, true)]
    {
        issuer.break_next(1, Endpoint::Token, point, Fault::Reset);
        assert_eq!(
            try_refresh(&issuer, token).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset,
            "{point:?}"
        );
        assert_eq!(issuer.ledger().lost(token), lost, "{point:?}");
    }
}

#[test]
fn a_bad_day_ends_when_it_is_mended() {
    let issuer = FakeIssuer::start(at_once(Rotation::Repeated));
    let login = log_in(&issuer);
    let token = text(&login, "refresh_token");
    let hang_up = vec![(Point::BeforeCommit, Fault::HangUp)];
    issuer.break_some(Endpoint::Token, Mix::new(1, 100, hang_up));
    assert!(try_refresh(&issuer, token).is_err());
    issuer.mend();
    assert!(refresh(&issuer, token)["access_token"].is_string());
}

#[test]
fn an_issuer_that_is_down_refuses_connections_until_it_comes_back() {
    let issuer = FakeIssuer::start(at_once(Rotation::Repeated));
    let login = log_in(&issuer);
    let token = text(&login, "refresh_token");
    for _ in 0..2 {
        issuer.go_down();
        eventually(SOON, "its port is closed", || {
            try_refresh(&issuer, token).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        });
        issuer.come_back();
        eventually(SOON, "its port is open", || try_refresh(&issuer, token).is_ok());
    }
    assert!(refresh(&issuer, token)["access_token"].is_string());
}

#[test]
fn an_issuer_that_is_gone_refuses_connections() {
    let issuer = FakeIssuer::start(Settings::default());
    let url = issuer.url().to_owned();
    drop(issuer);
    assert_eq!(http::get(&url).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

fn at_once(rotation: Rotation) -> Settings {
    Settings { rotation, device_interval: Some(0), ..Settings::default() }
}

fn begin(issuer: &FakeIssuer) -> Value {
    let url = format!("{}/device_authorization", issuer.url());
    http::post_form(&url, &[], &[("client_id", "cli"), ("scope", "all offline")]).unwrap().json()
}

fn poll(issuer: &FakeIssuer, device: &Value) -> Value {
    let code = text(device, "device_code");
    let fields = [("grant_type", DEVICE_GRANT), ("device_code", code), ("client_id", "cli")];
    http::post_form(&format!("{}/token", issuer.url()), &[], &fields).unwrap().json()
}

fn log_in(issuer: &FakeIssuer) -> Value {
    let device = begin(issuer);
    person::approve(text(&device, "verification_uri"), text(&device, "user_code"));
    poll(issuer, &device)
}

fn try_refresh(issuer: &FakeIssuer, token: &str) -> io::Result<Response> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "cli")];
    http::post_form(&format!("{}/token", issuer.url()), &[], &fields)
}

fn refresh(issuer: &FakeIssuer, token: &str) -> Value {
    try_refresh(issuer, token).unwrap().json()
}

#[track_caller]
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}
