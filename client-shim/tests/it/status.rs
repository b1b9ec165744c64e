//! A person looks at the accounts, reloads them and logs out.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc;

use crate::daemon::{Answer, Daemon};
use crate::shim::{Running, finish, keyfob, run};

const LIST: &str = r#"{"accounts":[{"name":"prod","grant":"device_code","issuer":"https://i.example","state":"signed_out","access_token":null,"renewal":{"state":"impossible"},"persistence":"durable","login":{"state":"idle"},"last_error":null,"new":1}],"default_account":"prod","store":{"key":"keyring","state":"open","note":null}}"#;

#[test]
fn the_accounts_are_shown_as_a_table_and_what_to_do_below() {
    let daemon = Daemon::start(|_| Answer::json(LIST));
    let table = "\
ACCOUNT  STATE       EXPIRES IN  RENEWS IN  GRANT        ISSUER
prod *   signed out  -           -          device_code  https://i.example

prod: not signed in; run: keyfob login prod
";
    run(&daemon, &["status"]).assert_success(table, "");
    run(&daemon, &["status", "prod"]).assert_success(table, "");
    assert_eq!(daemon.asked(), ["GET /v1/accounts", "GET /v1/accounts"]);
    run(&daemon, &["status", "corp"]).assert_failure(7);
}

#[test]
fn json_is_what_the_daemon_says() {
    let daemon = Daemon::start(|_| Answer::json(LIST));
    run(&daemon, &["status", "--json"]).assert_success(&format!("{LIST}\n"), "");
}

#[test]
fn without_accounts_the_configuration_file_is_named() {
    let daemon = Daemon::start(|_| {
        Answer::json(
            r#"{"accounts":[],"default_account":null,"store":{"key":"file","state":"open","note":null}}"#,
        )
    });
    let outcome = finish(keyfob(&daemon, &["status"]).env("KEYFOB_CONFIG", "/etc/k.toml"));
    outcome
        .assert_success("no accounts are configured: add one to /etc/k.toml, then run: keyfob reload\n", "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (closed, wait_for_close) = mpsc::channel();
    let wait_for_close = Mutex::new(wait_for_close);
    let daemon = Daemon::start(move |_| {
        wait_for_close.lock().unwrap().recv().unwrap();
        Answer::json(LIST)
    });
    let (reader, writer) = UnixStream::pair().unwrap();
    let mut command = keyfob(&daemon, &["status"]);
    let running = Running::start(command.stdout(OwnedFd::from(writer)));
    // A pipe could still be open in the child that another test is about to run.
    reader.shutdown(Shutdown::Both).unwrap();
    closed.send(()).unwrap();
    running.outcome().assert_success("", "");
}

#[test]
fn a_reload_lists_every_mistake_of_the_configuration() {
    let daemon = Daemon::start(|_| {
        Answer::error(
            409,
            r#"{"error":"misconfigured","message":"config.toml has 2 mistakes","hint":"mend them",
                "retry_at":null,"details":["line 3: no\u001b[2J","line 9: no"]}"#,
        )
    });
    let outcome = run(&daemon, &["reload"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(7), ""));
    assert_eq!(
        outcome.stderr,
        "keyfob: config.toml has 2 mistakes; mend them\n  line 3: no[2J\n  line 9: no\n"
    );
}

#[test]
fn a_reload_says_what_changed() {
    let daemon =
        Daemon::start(|_| Answer::json(r#"{"added":["a","b"],"changed":[],"kept":["c"],"removed":["d"]}"#));
    run(&daemon, &["reload"]).assert_success("added: a, b\nkept: c\nremoved: d\n", "");
    assert_eq!(daemon.asked(), ["POST /v1/reload"]);
}

#[test]
fn a_logout_says_what_became_of_the_tokens() {
    let daemon =
        Daemon::start(|_| Answer::json(r#"{"account":"prod","revocation":"revoked","reason":null}"#));
    let text = "signed out of prod; the issuer revoked the tokens\n";
    run(&daemon, &["logout"]).assert_success(text, "");
    assert_eq!(daemon.asked(), ["DELETE /v1/accounts/~/session"]);
}
