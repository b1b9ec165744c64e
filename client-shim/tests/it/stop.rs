//! A person ends the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Answer, Daemon};
use crate::shim::{install, run};

/// No process has this id: Linux gives none above 4194304.
const ELSEWHERE: u32 = 4_200_000;

fn version(pid: u32) -> Answer {
    Answer::json(&format!(r#"{{"version":"1","pid":{pid},"started_at":"2026-11-21T12:00:00Z"}}"#))
}

#[test]
fn a_daemon_that_leaves_its_socket_has_stopped() {
    let socket = Arc::new(OnceLock::<PathBuf>::new());
    let its_socket = Arc::clone(&socket);
    let daemon = Daemon::start(move |request| {
        if request.line == "POST /v1/stop" {
            fs::remove_file(its_socket.get().unwrap()).unwrap();
            return Answer::nothing();
        }
        version(ELSEWHERE)
    });
    socket.set(daemon.socket()).unwrap();
    run(&daemon, &["stop"]).assert_success(&format!("keyfobd (pid {ELSEWHERE}) has stopped\n"), "");
    assert_eq!(daemon.asked(), ["GET /v1/version", "POST /v1/stop"]);
}

#[test]
fn a_daemon_whose_process_ends_has_stopped_though_its_socket_answers() {
    // The socket is systemd's then, and whoever connects to it starts the next daemon.
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("keyfobd");
    install(Path::new("/bin/sleep"), &program);
    let mut process = Command::new(program).arg("300").spawn().unwrap();
    let pid = process.id();
    let daemon = Daemon::start(move |request| {
        if request.line == "POST /v1/stop" {
            kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
            return Answer::nothing();
        }
        version(pid)
    });
    let outcome = run(&daemon, &["stop"]);
    process.kill().unwrap_or_default();
    process.wait().unwrap();
    outcome.assert_success(&format!("keyfobd (pid {pid}) has stopped\n"), "");
    assert_eq!(daemon.asked(), ["GET /v1/version", "POST /v1/stop"]);
}

#[test]
fn a_daemon_that_another_follows_has_stopped() {
    let stopped = AtomicBool::new(false);
    let daemon = Daemon::start(move |request| {
        if request.line == "POST /v1/stop" {
            stopped.store(true, Ordering::SeqCst);
            return Answer::nothing();
        }
        version(if stopped.load(Ordering::SeqCst) { ELSEWHERE + 1 } else { ELSEWHERE })
    });
    let text =
        format!("keyfobd (pid {ELSEWHERE}) has stopped; another (pid {}) took its place\n", ELSEWHERE + 1);
    run(&daemon, &["stop"]).assert_success(&text, "");
}

#[test]
fn where_no_daemon_runs_there_is_nothing_to_stop() {
    let daemon = Daemon::start(|_| Answer::nothing());
    fs::remove_file(daemon.socket()).unwrap();
    run(&daemon, &["stop"]).assert_success("keyfobd is not running\n", "");
}
