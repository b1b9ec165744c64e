//! A person logs in with a code on another screen (RFC 8628).

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::process::Process;
use integration_tests::{person, shim};
use keyfob_protocol::error::{ErrorCode, Exit};
use keyfob_protocol::login::{LoginState, LoginStatus};
use rustix::process::Signal;

#[test]
fn a_person_logs_in_and_every_tool_has_a_token() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut login = shim::spawn(daemon.home(), &["login"]);
    let (page, code) = prompt(&login);
    person::approve(&page, &code);
    assert_eq!(login.wait().status, 0, "{}", login.shown());
    let token = daemon.shim(&["token"]);
    assert_eq!(token.stdout, format!("{}\n", daemon.token("prod").access_token), "{}", token.stderr);
    assert!(issuer.honours(token.stdout.trim_end()));
    let ledger = issuer.ledger();
    assert_eq!(ledger.violations, [""; 0]);
    assert!(ledger.device_polls.iter().all(|poll| !poll.early), "{:?}", ledger.device_polls);
}

#[test]
fn who_is_not_signed_in_is_told_what_to_run() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let output = daemon.shim(&["token"]);
    assert_eq!((output.status, output.stdout.as_str()), (Exit::LoginRequired as i32, ""));
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("keyfob login prod"), "{}", output.stderr);
    assert_eq!(issuer.ledger().token_requests.len(), 0);
}

#[test]
fn an_issuer_that_says_slow_down_is_polled_more_slowly() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    issuer.slow_down(1);
    daemon.log_in("prod");
    let polls = issuer.ledger().device_polls;
    let answers: Vec<_> = polls.iter().map(|poll| poll.answer.as_str()).collect();
    assert_eq!(answers, ["slow_down", "ok"]);
    assert!(polls.iter().all(|poll| !poll.early), "{polls:?}");
}

#[test]
fn a_login_survives_a_poll_that_goes_wrong() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    issuer.break_next(
        1,
        Endpoint::Token,
        Point::BeforeCommit,
        Fault::Answer(Reply::html(502, "Bad Gateway")),
    );
    daemon.log_in("prod");
}

#[test]
fn a_person_who_denies_ends_the_login() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut login = shim::spawn(daemon.home(), &["login"]);
    let (page, code) = prompt(&login);
    person::deny(&page, &code);
    let output = login.wait();
    assert_eq!(output.status, Exit::LoginRequired as i32, "{}", output.stderr);
    assert!(output.stderr.contains("keyfob login prod"), "{}", output.stderr);
    assert_failed(&daemon.login_outcome("prod"));
}

#[test]
fn a_code_that_nobody_types_in_expires_8628_5() {
    let issuer = FakeIssuer::start(Settings { device_expires_in: 2, ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.begin_login("prod");
    assert_failed(&daemon.login_outcome("prod"));
    // Another one is for a person to begin: not even a tool that asks for a token does.
    assert_eq!(daemon.shim(&["token"]).status, Exit::LoginRequired as i32);
    assert_eq!(issuer.ledger().device_authorizations, 1);
    assert_failed(&daemon.login_outcome("prod"));
}

#[test]
fn the_user_code_is_shown_even_where_the_page_has_it_already_8628_7() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let login = shim::spawn(daemon.home(), &["login"]);
    let (_, shown) = prompt(&login);
    let (_, code) = daemon.begin_login("prod");
    assert_eq!(shown, code);
}

#[test]
fn whoever_asks_while_a_login_is_pending_joins_it() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut logins = [(); 3].map(|()| shim::spawn(daemon.home(), &["login"]));
    let prompts = logins.each_ref().map(prompt);
    assert!(prompts.iter().all(|prompt| *prompt == prompts[0]), "{prompts:?}");
    person::approve(&prompts[0].0, &prompts[0].1);
    for login in &mut logins {
        assert_eq!(login.wait().status, 0, "{}", login.shown());
    }
    assert_eq!(issuer.ledger().device_authorizations, 1);
    assert_eq!(issuer.ledger().families.len(), 1);
}

#[test]
fn ctrl_c_cancels_the_login() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut login = shim::spawn(daemon.home(), &["login"]);
    prompt(&login);
    login.signal(Signal::INT);
    assert_eq!(login.wait().status, 130, "{}", login.shown());
    assert_eq!(daemon.login_outcome("prod"), LoginState::Cancelled);
}

#[test]
fn a_cancelled_login_is_polled_for_no_more_and_another_can_begin() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.begin_login("prod");
    let cancelled: LoginStatus = daemon.api("DELETE", "/v1/accounts/prod/login").json();
    assert_eq!(cancelled.login, LoginState::Cancelled);
    daemon.log_in("prod");
    let polls = issuer.ledger().device_polls;
    let last = &polls.last().unwrap().device_code;
    let after = polls.iter().skip_while(|poll| poll.device_code != *last);
    assert!(after.map(|poll| &poll.device_code).all(|code| code == last), "{polls:?}");
}

#[test]
fn a_long_poll_hears_of_a_login_when_it_changes() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let (page, code) = daemon.begin_login("prod");
    let revision = daemon.api("GET", "/v1/accounts/prod/login").json::<LoginStatus>().revision;
    std::thread::scope(|scope| {
        let path = format!("/v1/accounts/prod/login?after={revision}&wait=30");
        let poll = scope.spawn(move || daemon.api("GET", &path).json::<LoginStatus>());
        person::approve(&page, &code);
        let status = poll.join().unwrap();
        assert!(status.revision > revision, "{status:?}");
        assert!(matches!(status.login, LoginState::Exchanging | LoginState::SignedIn), "{status:?}");
    });
}

#[test]
fn a_token_that_works_is_served_while_another_login_is_pending() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let first = daemon.token("prod").access_token;
    let (page, code) = daemon.begin_login("prod");
    assert_eq!(daemon.token("prod").access_token, first);
    person::approve(&page, &code);
    eventually(SOON, "the second login's token", || daemon.token("prod").access_token != first);
}

#[track_caller]
fn prompt(login: &Process) -> (String, String) {
    found(SOON, "keyfob login shows a page and a code", || person::read(&login.shown()))
}

#[track_caller]
fn assert_failed(login: &LoginState) {
    let LoginState::Failed { error } = login else { panic!("{login:?}") };
    assert_eq!(error.error, ErrorCode::LoginFailed, "{error:?}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("keyfob login prod")), "{error:?}");
}
