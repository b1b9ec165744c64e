//! A person logs in.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};

use crate::daemon::{Answer, Daemon, Request};
use crate::shim::{Running, keyfob, run};

/// The daemon's one login. It ends when the test says so.
#[derive(Clone)]
struct Login(Arc<(Mutex<LoginStatus>, Condvar)>);

impl Login {
    fn new() -> (Self, Daemon) {
        let status = LoginStatus { account: "prod".parse().unwrap(), revision: 0, login: LoginState::Idle };
        let login = Self(Arc::new((Mutex::new(status), Condvar::new())));
        let answering = login.clone();
        (login, Daemon::start(move |request| answering.answer(request)))
    }

    fn becomes(&self, login: LoginState) {
        let (status, changed) = &*self.0;
        let mut status = status.lock().unwrap();
        status.revision += 1;
        status.login = login;
        changed.notify_all();
    }

    fn answer(&self, request: &Request) -> Answer {
        let (method, target) = request.line.split_once(' ').unwrap();
        match method {
            "POST" if !self.status().login.is_pending() => self.becomes(LoginState::Starting),
            "DELETE" => self.becomes(LoginState::Cancelled),
            _ => {}
        }
        if let Some((_, query)) = target.split_once("?after=") {
            let (after, wait) = query.split_once("&wait=").unwrap();
            self.wait_beyond(after.parse().unwrap(), Duration::from_secs(wait.parse().unwrap()));
        }
        Answer::json(&serde_json::to_string(&self.status()).unwrap())
    }

    fn status(&self) -> LoginStatus {
        self.0.0.lock().unwrap().clone()
    }

    fn wait_beyond(&self, revision: u64, time: Duration) {
        let (status, changed) = &*self.0;
        let status = status.lock().unwrap();
        drop(changed.wait_timeout_while(status, time, |status| status.revision <= revision).unwrap());
    }
}

fn asking(prompt: LoginPrompt) -> LoginState {
    LoginState::Asking { prompt, expires_at: "2126-11-21T12:00:00Z".parse().unwrap() }
}

fn enter_code() -> LoginState {
    asking(LoginPrompt::EnterCode {
        verification_uri: "https://i.example/device".to_owned(),
        verification_uri_complete: Some("https://i.example/device?user_code=WDJB-MJHT".to_owned()),
        user_code: "WDJB\x1b[2J-MJHT".to_owned(),
    })
}

#[test]
fn a_login_is_shown_and_followed_to_its_end() {
    let (login, daemon) = Login::new();
    let running = Running::start(&mut keyfob(&daemon, &["login"]));
    running.expect_line("asking the issuer");
    login.becomes(enter_code());
    running.expect_line("To sign in to prod on ");
    running.expect_line("    https://i.example/device");
    running.expect_line("    WDJB[2J-MJHT");
    running.expect_line("Enter it only if you asked for it yourself");
    login.becomes(LoginState::Exchanging);
    running.expect_line("fetching the tokens");
    login.becomes(LoginState::SignedIn);
    running.outcome().assert_success("", "signed in to prod\n");
    assert_eq!(
        daemon.asked(),
        [
            "POST /v1/accounts/~/login",
            "GET /v1/accounts/prod/login?after=1&wait=25",
            "GET /v1/accounts/prod/login?after=2&wait=25",
            "GET /v1/accounts/prod/login?after=3&wait=25",
        ]
    );
}

#[test]
fn a_login_that_is_pending_is_joined() {
    let (login, daemon) = Login::new();
    let [one, other] = [0, 1].map(|_| {
        let running = Running::start(&mut keyfob(&daemon, &["login", "prod"]));
        running.expect_line("asking the issuer");
        running
    });
    login.becomes(asking(LoginPrompt::Visit { url: "http://localhost:1/authorize".to_owned() }));
    for running in [&one, &other] {
        running.expect_line("open this page in a browser on this machine");
        running.expect_line("    http://localhost:1/authorize");
    }
    login.becomes(LoginState::SignedIn);
    for running in [one, other] {
        running.expect_line("signed in to prod");
        assert_eq!(running.outcome().code, Some(0));
    }
}

#[test]
fn ctrl_c_cancels_the_login_at_the_daemon() {
    let (login, daemon) = Login::new();
    let running = Running::start(&mut keyfob(&daemon, &["login"]));
    running.expect_line("asking the issuer");
    login.becomes(enter_code());
    running.expect_line("Enter it only");
    running.interrupt();
    running.expect_line("keyfob: cancelled");
    assert_eq!(running.outcome().code, Some(130));
    assert!(daemon.asked().contains(&"DELETE /v1/accounts/prod/login".to_owned()));
    assert_eq!(login.status().login, LoginState::Cancelled);
}

#[test]
fn a_login_that_ends_without_tokens_says_why() {
    let failed = |code| LoginState::Failed { error: ErrorBody::new(code, "the issuer said no") };
    let cases = [
        (failed(ErrorCode::LoginFailed), 3, "the issuer said no"),
        (failed(ErrorCode::Denied), 6, "the issuer said no"),
        (LoginState::Cancelled, 3, "cancelled elsewhere; to start another run: keyfob login prod"),
        (LoginState::Idle, 3, "keyfobd was restarted"),
        (asking(LoginPrompt::Visit { url: "http://evil.example/".to_owned() }), 6, "no https address"),
        (asking(LoginPrompt::Unknown), 4, "of the same version"),
    ];
    for (end, code, text) in cases {
        let (login, daemon) = Login::new();
        let running = Running::start(&mut keyfob(&daemon, &["login"]));
        running.expect_line("asking the issuer");
        login.becomes(end);
        let outcome = running.outcome();
        outcome.assert_failure(code);
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
}

#[test]
fn a_login_that_cannot_start_says_why() {
    let daemon = Daemon::start(|_| {
        Answer::error(404, r#"{"error":"unknown_account","message":"no","hint":null,"retry_at":null}"#)
    });
    run(&daemon, &["login", "prod"]).assert_failure(7);
}
