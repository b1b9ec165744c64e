//! Many clients, and clients that do not behave: none costs the others anything.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use integration_tests::callers;
use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;

use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Point};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::{Output, Process, raise_descriptor_limit};
use integration_tests::shim;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Connections of one program, far beyond what it may have.
const CONNECTIONS: usize = 5_000;

/// Programs that each take all they may have, without a word.
const SILENT: usize = 1_000;

/// What one program may have.
const SHARE: usize = 64;

#[test]
fn silent_and_dripping_clients_and_5000_connections_disturb_nobody_d2() {
    raise_descriptor_limit();
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let socket = daemon.home().socket();
    let token = shim::run(daemon.home(), &["token"]);
    assert_eq!(token.status, 0, "{token:?}");
    let answered = |what: &str| {
        for _ in 0..10 {
            assert_eq!(shim::run(daemon.home(), &["token"]), token, "{what}");
        }
    };
    let silent = UnixStream::connect(&socket).unwrap();
    answered("beside a silent client");
    let mut dripping = UnixStream::connect(&socket).unwrap();
    for byte in b"GET /v1/acc" {
        dripping.write_all(&[*byte]).unwrap();
        assert_eq!(shim::run(daemon.home(), &["token"]), token, "beside a dripping client");
    }
    let crowd: Vec<UnixStream> = (0..CONNECTIONS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    answered("beside a program with 5,000 connections");
    let many = callers::connect(&socket, SILENT);
    answered("beside many silent programs");
    drop((silent, dripping, crowd, many));
}

#[test]
fn who_sends_no_request_is_cut_off_and_who_rests_between_two_is_not_d2() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut resting = UnixStream::connect(daemon.home().socket()).unwrap();
    ask_on(&mut resting);
    let mut cut_off: Vec<UnixStream> = ["", "GET /healthz HTTP/1.1\r\nhost: ke", "POST / HTTP/1.1\r\n"]
        .map(|begun| {
            let mut stream = UnixStream::connect(daemon.home().socket()).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .into();
    for stream in &mut cut_off {
        stream.set_read_timeout(Some(SOON)).unwrap();
        assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "it was answered");
    }
    ask_on(&mut resting);
}

#[test]
fn a_program_with_too_many_connections_is_told_so_and_the_others_are_served() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut ours: Vec<UnixStream> =
        (0..SHARE).map(|_| UnixStream::connect(daemon.home().socket()).unwrap()).collect();
    ours.iter_mut().for_each(ask_on);
    let mut one_more = UnixStream::connect(daemon.home().socket()).unwrap();
    one_more.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    one_more.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("too many connections"), "{answer}");
    assert_eq!(shim::run(daemon.home(), &["status"]).status, 0);
    drop(ours.pop());
    eventually(SOON, "a place that has become free", || {
        daemon.try_api("GET", "/healthz").is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_program_that_hangs_up_and_comes_back_at_once_has_no_more_connections_than_before() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    for _ in 0..20 {
        let connect = |_| UnixStream::connect(daemon.home().socket()).unwrap();
        let mut ours: Vec<UnixStream> = (0..SHARE).map(connect).collect();
        ours.iter_mut().for_each(ask_on);
        // Not by dropping them: a child that another story starts in this moment may have copies.
        ours.iter().for_each(|stream| stream.shutdown(Shutdown::Both).unwrap());
    }
}

#[test]
fn a_web_page_gets_nothing_and_no_request_hides_behind_another() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = "GET /v1/accounts/prod/token HTTP/1.1\r\n";
    let hidden = format!("{token}host: keyfob\r\n\r\n");
    let refused = [
        (format!("{token}host: keyfob\r\norigin: https://evil.example\r\n\r\n"), "403"),
        (format!("{token}host: keyfob\r\nsec-fetch-site: cross-site\r\n\r\n"), "403"),
        (format!("{token}host: evil.example\r\n\r\n"), "403"),
        (format!("{token}host: 127.0.0.1:8080\r\n\r\n"), "403"),
        (format!("{token}\r\n"), "403"),
        (
            "OPTIONS /v1/accounts/prod/token HTTP/1.1\r\nhost: keyfob\r\norigin: null\r\n\
             access-control-request-method: GET\r\n\r\n"
                .to_owned(),
            "403",
        ),
        (format!("GET http://evil.example/v1/accounts HTTP/1.1\r\nhost: keyfob\r\n\r\n{hidden}"), "403"),
        (
            format!(
                "POST /v1/reload HTTP/1.1\r\nhost: keyfob\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
                 0\r\n\r\n{hidden}"
            ),
            "400",
        ),
        (
            format!(
                "POST /v1/reload HTTP/1.1\r\nhost: keyfob\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            "400",
        ),
        (
            format!(
                "POST /v1/reload HTTP/1.1\r\nhost: keyfob\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n{hidden}"
            ),
            "400",
        ),
        (format!("POST /v1/reload HTTP/1.1\r\nhost: keyfob\r\ncontent-length: 65537\r\n\r\n{hidden}"), "413"),
        (format!("GET /v1/accounts/prod/token HTTP/1.0\r\nhost: keyfob\r\n\r\n{hidden}"), "400"),
        (format!("{token}host: keyfob\r\nx: {}\r\n\r\n", "a".repeat(17_000)), "431"),
    ];
    for (request, status) in refused {
        let mut stream = UnixStream::connect(daemon.home().socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        drop(stream.write_all(request.as_bytes()));
        let answers = until_the_end(&mut stream);
        assert_eq!(answers.split(' ').nth(1), Some(status), "{request}\n{answers}");
        assert_eq!(answers.matches("\r\n\r\n").count(), 1, "{request}\n{answers}");
        assert!(!answers.contains("CANARY") && !answers.contains("access-control"), "{answers}");
    }
    // What curl sends with --unix-socket is answered.
    assert_eq!(daemon.api_with("GET", "/v1/accounts/prod/token", &[("user-agent", "curl/8")]).status, 200);
}

#[test]
fn with_few_descriptors_500_clients_are_served_and_what_was_renewed_is_kept_c8() {
    let issuer = short_lived();
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    home.launch_by("ulimit -n 64\nexec \"$@\"\n");
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    eventually(SOON, "the token has expired", || !issuer.honours(&token));
    issuer.hold(Endpoint::Token, Point::BeforeReply);
    let mut shims: Vec<Process> = (0..500).map(|_| shim::spawn(daemon.home(), &["token"])).collect();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", daemon.process().id())).unwrap().count();
    eventually(SOON, "as many as there is room for wait", || issuer.held() == 1 && descriptors() > 30);
    // Others are told that there is no room by being made to wait: in the backlog they cost nothing.
    issuer.release();
    let outputs: Vec<Output> = shims.iter_mut().map(Process::wait).collect();
    let renewed = outputs[0].stdout.trim().to_owned();
    assert!(
        outputs.iter().all(|output| output.status == 0 && output.stdout.trim() == renewed),
        "{outputs:?}"
    );
    assert!(descriptors() < 64);
    let complaints = daemon.log().lines().filter(|line| line.contains("cannot accept")).count();
    assert!(complaints < 20, "{complaints} lines");
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, renewed, "what the renewal brought was not kept");
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

#[test]
fn a_limit_that_is_lowered_under_open_connections_ends_neither_the_daemon_nor_its_renewals_c8() {
    raise_descriptor_limit();
    let issuer = short_lived();
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    let mut many = callers::connect(&daemon.home().socket(), 2 * SHARE);
    many.iter_mut().for_each(ask_on);
    let pid = Pid::from_raw(i32::try_from(daemon.process().id()).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    eventually(SOON, "the token has expired", || !issuer.honours(&token));
    eventually(SOON, "a word in the log", || {
        // Some descriptors may be left from before.
        many.push(UnixStream::connect(daemon.home().socket()).unwrap());
        daemon.log().contains("cannot accept")
    });
    let mut shim = shim::spawn(daemon.home(), &["token"]);
    drop(many);
    let output = shim.wait();
    assert_eq!(output.status, 0, "{output:?}");
    assert!(issuer.honours(output.stdout.trim()), "{output:?}");
    let complaints = daemon.log().lines().filter(|line| line.contains("cannot accept")).count();
    assert!(complaints < 10, "{complaints} lines");
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

/// Tokens that live for a little longer than the ten seconds that lie between two renewals.
fn short_lived() -> FakeIssuer {
    FakeIssuer::start(Settings {
        access_lifetime: Duration::from_secs(11),
        rotation: Rotation::Strict,
        ..Settings::default()
    })
}

/// Asks, and reads the answer; the connection stays.
fn ask_on(stream: &mut UnixStream) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "it was cut off: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..count]);
    }
}

/// Reads until the daemon hangs up. What it did not want to read makes that a reset.
fn until_the_end(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(answer).unwrap()
}
