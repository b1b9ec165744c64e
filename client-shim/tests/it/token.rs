//! A tool asks for a token.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use keyfob_protocol::error::{ErrorBody, ErrorCode};

use crate::daemon::{Answer, Daemon};
use crate::shim::{Running, finish, keyfob, run};

#[test]
fn a_token_is_printed_with_a_line_feed_and_nothing_else() {
    let daemon = Daemon::start(|_| Answer::token("CANARY-1"));
    run(&daemon, &["token", "prod"]).assert_success("CANARY-1\n", "");
    assert_eq!(daemon.asked(), ["GET /v1/accounts/prod/token?wait=10"]);
    let head = daemon.latest();
    assert!(
        head.contains("\r\nAccept: text/plain\r\n") && head.contains("\r\nConnection: close\r\n"),
        "{head}"
    );
}

#[test]
fn a_long_token_is_printed_whole() {
    let token = "x".repeat(300_000);
    let answer = token.clone();
    let daemon = Daemon::start(move |_| Answer::token(&answer));
    run(&daemon, &["token"]).assert_success(&format!("{token}\n"), "");
}

#[test]
fn what_is_asked_for_travels() {
    let daemon = Daemon::start(|_| Answer::token("t"));
    run(&daemon, &["token", "--min-ttl", "60", "--wait=0"]).assert_success("t\n", "");
    run(&daemon, &["token", "--scope", "a b", "--resource=https://r", "--id-token"])
        .assert_success("t\n", "");
    finish(keyfob(&daemon, &["token"]).env("KEYFOB_ACCOUNT", "corp")).assert_success("t\n", "");
    assert_eq!(
        daemon.asked(),
        [
            "GET /v1/accounts/~/token?wait=0&min_ttl=60",
            "GET /v1/accounts/~/token?wait=10&scope=a%20b&resource=https%3A%2F%2Fr&kind=id",
            "GET /v1/accounts/corp/token?wait=10"
        ]
    );
}

#[test]
fn every_error_has_its_exit_code_one_line_and_no_output() {
    let cases = [
        (ErrorCode::BadRequest, 2),
        (ErrorCode::NotFound, 2),
        (ErrorCode::LoginRequired, 3),
        (ErrorCode::LoginFailed, 3),
        (ErrorCode::Unavailable, 4),
        (ErrorCode::Locked, 4),
        (ErrorCode::ShuttingDown, 4),
        (ErrorCode::Internal, 4),
        (ErrorCode::Unknown, 4),
        (ErrorCode::Denied, 6),
        (ErrorCode::UnknownAccount, 7),
        (ErrorCode::Misconfigured, 7),
        (ErrorCode::InsufficientScope, 7),
    ];
    for (code, exit) in cases {
        let daemon = Daemon::start(move |_| {
            let mut error = ErrorBody::new(code, "prod is\nin trouble").with_hint("run: keyfob login prod");
            error.details = vec!["line 1".to_owned(), "line 2".to_owned()];
            Answer::error(code.status(), &serde_json::to_string(&error).unwrap())
        });
        let outcome = run(&daemon, &["token", "prod"]);
        outcome.assert_failure(exit);
        assert_eq!(outcome.stderr, "keyfob: prod is in trouble; run: keyfob login prod\n", "{code:?}");
    }
}

#[test]
fn an_answer_that_is_no_whole_token_prints_nothing() {
    let answers: [&[u8]; 11] = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\nCANARY",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nCANARY",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\nCANARY\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\nCANA\r\nRY",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\nCANARY\0",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n\"CANARY\"",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n6\r\nCANARY\r\n0\r\n\r\n",
        b"HTTP/1.1 503 Trouble\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nCANARY",
    ];
    for answer in answers {
        let daemon = Daemon::start(move |_| Answer(answer.to_vec()));
        let outcome = run(&daemon, &["token", "prod"]);
        outcome.assert_failure(4);
        assert!(!outcome.stderr.contains("CANARY"), "{outcome:?}");
    }
}

#[test]
fn a_daemon_that_hangs_up_because_it_is_going_is_asked_again_once() {
    let hung_up = AtomicBool::new(false);
    let daemon = Daemon::start(move |_| match hung_up.swap(true, Ordering::SeqCst) {
        false => Answer(Vec::new()),
        true => Answer::token("t"),
    });
    run(&daemon, &["token"]).assert_success("t\n", "");
    let daemon = Daemon::start(|_| Answer(Vec::new()));
    run(&daemon, &["token"]).assert_failure(4);
    assert_eq!(daemon.asked().len(), 2);
}

#[test]
fn without_a_daemon_the_line_names_the_socket_and_the_command() {
    let daemon = Daemon::start(|_| Answer::token("t"));
    std::fs::remove_file(daemon.socket()).unwrap();
    for arguments in [["token", "--no-autostart"], ["token", "prod"]] {
        let mut command = keyfob(&daemon, &arguments);
        if arguments.contains(&"--no-autostart") {
            command.env_remove("KEYFOB_NO_AUTOSTART");
        }
        let outcome = finish(&mut command);
        outcome.assert_failure(5);
        let socket = daemon.socket();
        assert_eq!(
            outcome.stderr,
            format!("keyfob: no daemon answers at {}; run: keyfobd\n", socket.display())
        );
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let daemon = Daemon::start(|_| Answer::token("t"));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let outcome = finish(keyfob(&daemon, &["token"]).stdout(full));
    outcome.assert_failure(4);
    assert!(outcome.stderr.contains("cannot write the output"), "{outcome:?}");
}

#[test]
fn a_token_that_nobody_reads_is_a_failure() {
    let (closed, wait_for_close) = mpsc::channel();
    let wait_for_close = Mutex::new(wait_for_close);
    let daemon = Daemon::start(move |_| {
        wait_for_close.lock().unwrap().recv().unwrap();
        Answer::token("t")
    });
    let (reader, writer) = UnixStream::pair().unwrap();
    let mut command = keyfob(&daemon, &["token"]);
    let running = Running::start(command.stdout(OwnedFd::from(writer)));
    // A pipe could still be open in the child that another test is about to run.
    reader.shutdown(Shutdown::Both).unwrap();
    closed.send(()).unwrap();
    running.outcome().assert_failure(4);
}

#[test]
fn nothing_takes_the_place_of_a_closed_stream() {
    let daemon = Daemon::start(|_| Answer::token("t"));
    for (closed, printed) in [("<&- >&- 2>&-", ""), (">&-", ""), ("<&-", "t\n")] {
        let keyfob = keyfob(&daemon, &["token"]);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("exec \"$0\" token {closed}")]).arg(keyfob.get_program());
        shell.env_clear().envs(keyfob.get_envs().filter_map(|(name, value)| Some((name, value?))));
        finish(shell.stdout(Stdio::piped()).stderr(Stdio::piped())).assert_success(printed, "");
    }
}

#[test]
fn standard_input_is_left_to_others() {
    let daemon = Daemon::start(|_| Answer::token("t"));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"for somebody else").unwrap();
    let rest = theirs.try_clone().unwrap();
    finish(keyfob(&daemon, &["token"]).stdin(OwnedFd::from(theirs))).assert_success("t\n", "");
    drop(ours);
    assert_eq!(std::io::read_to_string(rest).unwrap(), "for somebody else");
}
