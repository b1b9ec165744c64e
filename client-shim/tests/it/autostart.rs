//! No daemon answers, and `keyfob` starts one.
//!
//! The daemon that is played here listens all the time, at a path where nobody looks; the script that stands in for
//! `keyfobd` moves its socket to where it is looked for.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Answer, Daemon};
use crate::shim::{Running, finish, keyfob, write_script};

/// Makes the daemon answer.
const APPEAR: &str = "mv hidden.sock keyfob.sock";

fn hidden_daemon() -> Daemon {
    let daemon = Daemon::start(|request| match request.line.starts_with("GET /v1/accounts/") {
        true => Answer::token("t"),
        false => {
            Answer::json(r#"{"accounts":[],"default_account":null,"store":{"key":"file","state":"open"}}"#)
        }
    });
    fs::rename(daemon.socket(), daemon.path("hidden.sock")).unwrap();
    daemon
}

fn starting(daemon: &Daemon, arguments: &[&str], script: &str) -> Command {
    let mut command = keyfob(daemon, arguments);
    command.env_remove("KEYFOB_NO_AUTOSTART").env("PATH", "/usr/bin:/bin");
    command.env("KEYFOB_DAEMON", write_script(daemon, script));
    command
}

#[test]
fn a_daemon_is_started_in_the_background_without_our_input_and_output() {
    let daemon = hidden_daemon();
    let script = format!("echo \"$@\" >>starts; cat; echo noise; {APPEAR}");
    finish(&mut starting(&daemon, &["token"], &script)).assert_success("t\n", "");
    assert_eq!(fs::read_to_string(daemon.path("starts")).unwrap(), "--background\n");
}

#[test]
fn what_the_daemon_leaves_running_does_not_hold_up_the_caller() {
    let daemon = hidden_daemon();
    // Longer than this harness waits for the end of keyfob's output.
    let script = format!("sleep 300 & echo $! >pid; {APPEAR}");
    finish(&mut starting(&daemon, &["token"], &script)).assert_success("t\n", "");
    let pid = fs::read_to_string(daemon.path("pid")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Starts two shims at once, and lets the daemon answer after the second `keyfobd` has ended in the given way.
fn start_two(second: &str) {
    let daemon = hidden_daemon();
    let script = format!(
        "if mkdir lock 2>/dev/null
         then while [ -e lock ] && ! [ -e second ]; do sleep 0.01; done; {APPEAR}
         else : >second; {second}
         fi"
    );
    let mut command = starting(&daemon, &["token"], &script);
    let [one, other] = [0, 1].map(|_| Running::start(&mut command));
    one.outcome().assert_success("t\n", "");
    other.outcome().assert_success("t\n", "");
}

#[test]
fn of_two_shims_at_once_the_one_whose_daemon_comes_second_waits_for_the_first() {
    start_two("echo another keyfobd is running >&2");
}

#[test]
fn a_daemon_that_fails_because_another_holds_the_lock_is_no_failure() {
    start_two("echo another keyfobd is starting >&2; exit 1");
}

#[test]
fn a_daemon_that_does_not_start_is_quoted() {
    let daemon = hidden_daemon();
    let outcome = finish(&mut starting(&daemon, &["token"], "echo no >&2; echo disk is full >&2; exit 1"));
    outcome.assert_failure(5);
    assert!(outcome.stderr.contains("keyfobd did not start: disk is full; "), "{outcome:?}");
    let outcome = finish(&mut starting(&daemon, &["token"], "echo 'config.toml line 3: no' >&2; exit 78"));
    outcome.assert_failure(7);
    assert!(outcome.stderr.contains("keyfobd did not start: config.toml line 3: no"), "{outcome:?}");
}

#[test]
fn a_daemon_that_is_not_installed_is_named() {
    let daemon = hidden_daemon();
    let outcome = finish(starting(&daemon, &["token"], APPEAR).env("KEYFOB_DAEMON", "/nonexistent/keyfobd"));
    outcome.assert_failure(5);
    assert!(outcome.stderr.contains("there is no /nonexistent/keyfobd to start"), "{outcome:?}");
}

#[test]
fn looking_starts_a_daemon_but_ending_and_reloading_do_not() {
    let daemon = hidden_daemon();
    let script = format!("echo \"$@\" >>starts; {APPEAR}");
    finish(&mut starting(&daemon, &["stop"], &script)).assert_success("keyfobd is not running\n", "");
    finish(&mut starting(&daemon, &["reload"], &script)).assert_failure(5);
    assert!(!daemon.path("starts").exists());
    assert_eq!(finish(&mut starting(&daemon, &["status"], &script)).code, Some(0));
    assert!(daemon.path("starts").exists());
}
