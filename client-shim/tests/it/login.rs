//! A person logs in.

use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus};

use crate::daemon::{Answer, Daemon, Request};
use crate::shim::{LIMIT, Running, install, keyfob, run};

/// The daemon's one login. It ends when the test says so.
#[derive(Clone)]
struct Login(Arc<(Mutex<LoginStatus>, Condvar)>);

impl Login {
    fn new() -> (Self, Daemon) {
        let status = LoginStatus {
            account: "prod".parse().unwrap(),
            revision: 0,
            login: LoginState::Idle,
            warning: None,
        };
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
            "POST" if target.ends_with("/redirect") => return self.take(&request.body),
            "POST" if !self.status().login.is_pending() => self.becomes(LoginState::Starting),
            // What a person has answered is exchanged to its end.
            "DELETE" if self.status().login != LoginState::Exchanging => self.becomes(LoginState::Cancelled),
            _ => {}
        }
        if let Some((_, query)) = target.split_once("?after=") {
            let (after, wait) = query.split_once("&wait=").unwrap();
            self.wait_beyond(after.parse().unwrap(), Duration::from_secs(wait.parse().unwrap()));
        }
        Answer::json(&serde_json::to_string(&self.status()).unwrap())
    }

    /// Takes a pasted URL if it is the right one.
    fn take(&self, body: &str) -> Answer {
        if body == format!(r#"{{"url":"{REDIRECTED}"}}"#) {
            self.becomes(LoginState::Exchanging);
            return Answer::json(&serde_json::to_string(&self.status()).unwrap());
        }
        Answer::error(
            400,
            r#"{"error":"bad_request","message":"not it","hint":"copy it all","retry_at":null}"#,
        )
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

/// What the browser's address bar shows in the end.
const REDIRECTED: &str = "http://127.0.0.1:8400/callback?code=c&state=s";

/// The page to sign in at.
const PAGE: &str =
    "https://i.example/authorize?redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2Fcallback&state=s";

fn visit() -> LoginState {
    asking(LoginPrompt::Visit { url: PAGE.to_owned() })
}

/// Puts programs of these names beside the daemon's socket that write down how they are called, one argument a line.
fn put_openers(daemon: &Daemon, names: &[&str]) {
    let log = daemon.path("opened");
    let text = daemon.path("opener");
    let script = format!("#!/bin/sh\nprintf '%s\\n' \"${{0##*/}}\" \"$@\" end >>{}\n", log.display());
    std::fs::write(&text, script).unwrap();
    for name in names {
        install(&text, &daemon.path(name));
    }
}

/// Hears how the next opener is called.
fn next_opened(daemon: &Daemon) -> Receiver<String> {
    let log = daemon.path("opened");
    if !log.exists() {
        assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    }
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || sender.send(std::fs::read_to_string(log).unwrap()).unwrap_or_default());
    heard
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
fn ctrl_c_is_too_late_once_the_person_has_signed_in() {
    let (login, daemon) = Login::new();
    let running = Running::start(&mut keyfob(&daemon, &["login"]));
    running.expect_line("asking the issuer");
    login.becomes(LoginState::Exchanging);
    running.expect_line("fetching the tokens");
    running.interrupt();
    running.expect_line("too late to cancel: you have signed in; to sign out again run: keyfob logout prod");
    assert_eq!(running.outcome().code, Some(130));
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

#[test]
fn a_desktop_session_opens_the_page_in_one_argument_and_shows_it_too() {
    let (login, daemon) = Login::new();
    put_openers(&daemon, &["xdg-open", "my-browser"]);
    let path = format!("{}:/usr/bin:/bin", daemon.directory().display());
    let cases = [
        (&["login"][..], ("TERM", "dumb"), "xdg-open"),
        (&["login"], ("BROWSER", "sh -c id:my-browser"), "my-browser"),
        (&["login", "--browser"], ("SSH_TTY", "/dev/pts/0"), "xdg-open"),
    ];
    for (arguments, (name, value), program) in cases {
        let opened = next_opened(&daemon);
        let mut command = keyfob(&daemon, arguments);
        let running = Running::start(command.env("DISPLAY", ":0").env("PATH", &path).env(name, value));
        running.expect_line("asking the issuer");
        login.becomes(visit());
        running.expect_line("Your browser opens a page to sign in to prod");
        running.expect_line(&format!("    {PAGE}"));
        assert_eq!(opened.recv_timeout(LIMIT).unwrap(), format!("{program}\n{PAGE}\nend\n"));
        login.becomes(LoginState::SignedIn);
        assert_eq!(running.outcome().code, Some(0));
    }
}

#[test]
fn no_browser_is_opened_over_ssh_or_where_it_is_not_wanted() {
    let (login, daemon) = Login::new();
    put_openers(&daemon, &["xdg-open", "x-www-browser", "www-browser", "gio"]);
    let path = daemon.directory().as_os_str().to_owned();
    let cases = [
        (&["login"][..], [("DISPLAY", ":0"), ("SSH_CONNECTION", "a 1 b 2")], "ssh -L 8400:127.0.0.1:8400 "),
        (
            &["login", "--no-browser"],
            [("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "w")],
            "in a browser on this machine",
        ),
        (&["login"], [("TERM", "dumb"), ("LANG", "C")], "keyfob login prod --paste"),
        (
            &["login", "--paste"],
            [("DISPLAY", ":0"), ("WAYLAND_DISPLAY", "w")],
            "open this page in any browser",
        ),
    ];
    for (arguments, variables, text) in cases {
        let running = Running::start(keyfob(&daemon, arguments).env("PATH", &path).envs(variables));
        running.expect_line("asking the issuer");
        login.becomes(visit());
        running.expect_line(text);
        login.becomes(LoginState::SignedIn);
        assert_eq!(running.outcome().code, Some(0));
    }
    assert!(!daemon.path("opened").exists());
}

#[test]
fn the_page_for_a_code_is_never_opened_by_itself_8628_8() {
    let (login, daemon) = Login::new();
    put_openers(&daemon, &["xdg-open", "x-www-browser", "www-browser", "gio"]);
    for (arguments, display) in [
        (&["login"][..], ("DISPLAY", ":0")),
        (&["login"], ("TERM", "dumb")),
        (&["login", "--browser"], ("DISPLAY", ":0")),
    ] {
        let mut command = keyfob(&daemon, arguments);
        let path = daemon.directory().as_os_str();
        let running = Running::start(command.env("PATH", path).env(display.0, display.1));
        running.expect_line("asking the issuer");
        login.becomes(enter_code());
        running.expect_line("    https://i.example/device");
        login.becomes(LoginState::SignedIn);
        assert_eq!(running.outcome().code, Some(0));
    }
    assert!(!daemon.path("opened").exists());
}

#[test]
fn a_failure_to_open_a_browser_costs_nothing() {
    let (login, daemon) = Login::new();
    let running = Running::start(keyfob(&daemon, &["login"]).env("DISPLAY", ":0").env("PATH", "/nowhere"));
    running.expect_line("asking the issuer");
    login.becomes(visit());
    running.expect_line("open this page in a browser on this machine");
    running.expect_line(&format!("    {PAGE}"));
    login.becomes(LoginState::SignedIn);
    assert_eq!(running.outcome().code, Some(0));
}

#[test]
fn a_pasted_address_is_brought_to_the_daemon_and_another_text_is_asked_for_again() {
    let (login, daemon) = Login::new();
    let input = daemon.path("input");
    std::fs::write(&input, format!("something else\n\n  {REDIRECTED}\n")).unwrap();
    let stdin = std::fs::File::open(input).unwrap();
    let running = Running::start(keyfob(&daemon, &["login", "--paste"]).stdin(stdin));
    running.expect_line("asking the issuer");
    login.becomes(visit());
    running.expect_line("not it; copy it all");
    running.expect_line("fetching the tokens");
    login.becomes(LoginState::SignedIn);
    running.expect_line("signed in to prod");
    assert_eq!(running.outcome().code, Some(0));
    let pasted = |line: &&String| line.starts_with("POST /v1/accounts/prod/login/redirect");
    assert_eq!(daemon.asked().iter().filter(pasted).count(), 2);
}

#[test]
fn the_end_of_the_input_does_not_end_the_login() {
    let (login, daemon) = Login::new();
    let running = Running::start(&mut keyfob(&daemon, &["login", "--paste"]));
    running.expect_line("asking the issuer");
    login.becomes(visit());
    running.expect_line("there is nothing more to read");
    login.becomes(LoginState::SignedIn);
    assert_eq!(running.outcome().code, Some(0));
}

#[test]
fn ctrl_c_cancels_the_login_also_while_an_address_is_awaited() {
    let (login, daemon) = Login::new();
    let running = Running::start(keyfob(&daemon, &["login", "--paste"]).stdin(Stdio::piped()));
    running.expect_line("asking the issuer");
    login.becomes(visit());
    running.expect_line("The page is good for");
    running.interrupt();
    running.expect_line("keyfob: cancelled");
    assert_eq!(running.outcome().code, Some(130));
    assert_eq!(login.status().login, LoginState::Cancelled);
}

#[test]
fn another_way_to_log_in_is_asked_for_by_name() {
    let (login, daemon) = Login::new();
    let running = Running::start(&mut keyfob(&daemon, &["login", "prod", "--device"]));
    running.expect_line("asking the issuer");
    login.becomes(enter_code());
    running.expect_line("    WDJB[2J-MJHT");
    login.becomes(LoginState::SignedIn);
    assert_eq!(running.outcome().code, Some(0));
    assert_eq!(daemon.asked()[0], "POST /v1/accounts/prod/login?flow=device_code");
}
