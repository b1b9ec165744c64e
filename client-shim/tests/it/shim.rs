//! The real `keyfob`, run with nothing of the surrounding environment.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::daemon::Daemon;

/// Longer than anything the shim does: who waits so long waits in vain.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that is not over.
pub(crate) struct Running {
    pid: Pid,
    lines: Receiver<String>,
    outcome: Receiver<(ExitStatus, String)>,
}

/// Returns `keyfob` with arguments, in a home of its own.
pub(crate) fn keyfob(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfob"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", daemon.directory())
        .env("KEYFOB_SOCKET", daemon.socket())
        .env("KEYFOB_NO_AUTOSTART", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `keyfob` with arguments to its end.
pub(crate) fn run(daemon: &Daemon, arguments: &[&str]) -> Outcome {
    finish(&mut keyfob(daemon, arguments))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    Running::start(command).outcome()
}

/// Runs `keyfob` on a terminal of 24 rows and 80 columns to its end, and returns every byte that the terminal got.
pub(crate) fn on_a_terminal(command: &mut Command) -> Vec<u8> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = || -> OwnedFd {
        rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .unwrap()
    };
    let mut child = command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    // The terminal ends when nobody has its other side open: the command holds on to what it gives its children.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut shown = Vec::new();
    // Its end is an error of its own.
    drop(File::from(terminal).read_to_end(&mut shown));
    child.wait().unwrap();
    shown
}

impl Outcome {
    /// Checks that it failed as every command does: nothing on standard output, one line on standard error.
    pub(crate) fn assert_failure(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(self.stderr.starts_with("keyfob: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
    }

    pub(crate) fn assert_success(&self, stdout: &str, stderr: &str) {
        let expected = Self { code: Some(0), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(*self, expected);
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (stderr, lines) = mpsc::channel();
        if let Some(pipe) = child.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n') {
                    stderr.send(String::from_utf8(line.unwrap()).unwrap()).unwrap_or_default();
                }
            });
        }
        let (end, outcome) = mpsc::channel();
        thread::spawn(move || end.send(wait(child)).unwrap_or_default());
        Self { pid, lines, outcome }
    }

    /// Waits for a line on standard error with a text in it.
    pub(crate) fn expect_line(&self, text: &str) {
        while !self.lines.recv_timeout(LIMIT).unwrap().contains(text) {}
    }

    pub(crate) fn interrupt(&self) {
        kill_process(self.pid, Signal::INT).unwrap();
    }

    /// Waits for the end; `stderr` is what no `expect_line` has read.
    pub(crate) fn outcome(self) -> Outcome {
        let (status, stdout) = self.outcome.recv_timeout(LIMIT).unwrap();
        let mut stderr = String::new();
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            stderr.push_str(&line);
            stderr.push('\n');
        }
        Outcome { code: status.code(), stdout, stderr }
    }
}

/// Writes a script that stands in for `keyfobd`, and runs beside the daemon's socket.
pub(crate) fn write_script(daemon: &Daemon, script: &str) -> PathBuf {
    let [text, program] = ["text", "keyfobd-script"].map(|name| daemon.path(name));
    let directory = daemon.directory().display();
    std::fs::write(&text, format!("#!/bin/sh\nset -eu\ncd {directory}\n{script}\n")).unwrap();
    install(&text, &program);
    program
}

/// Copies a program. Another process does it: one that this process has open for writing cannot be run.
pub(crate) fn install(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "700"]).args([from, to]).status().unwrap();
    assert!(status.success());
}

fn wait(mut child: Child) -> (ExitStatus, String) {
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).unwrap();
    }
    (child.wait().unwrap(), stdout)
}
