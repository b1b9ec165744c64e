//! Starts keyfobd where none answers.
//!
//! `keyfobd --background` leaves its foreground process as soon as its socket answers, with exit code 0, or says on
//! standard error why it cannot. The thing to get wrong: whatever the background process inherits from us stays open
//! for days, and a caller that waits for the end of our output would wait for the daemon's. So it inherits nothing of
//! ours but a socket for its complaint.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use keyfob_protocol::error::Exit;

use crate::clock::{Deadline, pause};
use crate::display;

/// The daemon's program.
const PROGRAM: &str = "keyfobd";

/// The exit code of a daemon whose configuration must be mended: `EX_CONFIG` of sysexits.
const CONFIGURATION: i32 = 78;

/// How often the starting daemon is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the socket is tried after a daemon has failed: what it complains of may be that another one was faster,
/// which then takes this long at most to ask for a keyring and to listen.
const GRACE: Duration = Duration::from_secs(3);

/// How much of a complaint is read: the last line is shown.
const MAX_COMPLAINT: usize = 16 * 1024;

/// Whether a daemon may be started, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Autostart {
    /// None.
    Never,
    /// One: the program that is named here, or else the one that is found.
    Once(Option<OsString>),
}

/// Why no daemon could be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is none: install it.
    #[error("keyfobd is not running, and there is no {} to start: install it beside keyfob or in PATH, or set KEYFOB_DAEMON", .0.display())]
    NotFound(PathBuf),
    /// It cannot be run.
    #[error("keyfobd cannot be run: {0}; set KEYFOB_DAEMON to one that can")]
    Unusable(io::Error),
    /// The configuration must be mended.
    #[error("keyfobd did not start: {0}; to see all of it run: keyfobd")]
    Configuration(String),
    /// It said why it does not start.
    #[error("keyfobd did not start: {0}; to see all of it run: keyfobd")]
    Complaint(String),
    /// It takes too long.
    #[error("keyfobd is slow to start; try again, or to see more run: keyfobd")]
    Late,
}

impl Error {
    /// Returns how long the socket is worth trying all the same.
    pub(crate) fn grace(&self) -> Duration {
        match self {
            Self::Complaint(_) => GRACE,
            Self::NotFound(_) | Self::Unusable(_) | Self::Configuration(_) | Self::Late => Duration::ZERO,
        }
    }

    /// Returns the shim's exit code for this failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Configuration(_) => Exit::Configuration,
            Self::NotFound(_) | Self::Unusable(_) | Self::Complaint(_) | Self::Late => Exit::NoDaemon,
        }
    }
}

/// Finds the program: the one that is named, else the one beside our own, else the one in `PATH`.
fn program(named: Option<&OsStr>) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        Some(own.with_file_name(PROGRAM)).filter(|program| program.is_file())
    };
    named.map(PathBuf::from).or_else(beside).unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// Starts a daemon and waits until its socket answers. A daemon that is slower than the deadline is left alone: who
/// asks later finds it.
pub(crate) fn start(named: Option<&OsStr>, deadline: Deadline) -> Result<(), Error> {
    let (complaint, theirs) = UnixStream::pair().map_err(Error::Unusable)?;
    let program = program(named);
    let child = Command::new(&program)
        .arg("--background")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| match error.kind() == ErrorKind::NotFound {
            true => Error::NotFound(program),
            false => Error::Unusable(error),
        })?;
    let status = end_of(child, deadline)?;
    if status.success() {
        return Ok(());
    }
    let line = last_line(complaint).unwrap_or_else(|| format!("it ended without a word ({status})"));
    Err(match status.code() {
        Some(CONFIGURATION) => Error::Configuration(line),
        Some(_) | None => Error::Complaint(line),
    })
}

fn end_of(mut child: Child, deadline: Deadline) -> Result<ExitStatus, Error> {
    while deadline.left().is_some() {
        if let Some(status) = child.try_wait().map_err(Error::Unusable)? {
            return Ok(status);
        }
        pause(PAUSE);
    }
    Err(Error::Late)
}

/// Returns the last line that a daemon wrote before it ended. What it left behind may hold the other end open, so
/// only what is there already is read.
fn last_line(mut complaint: UnixStream) -> Option<String> {
    complaint.set_nonblocking(true).ok()?;
    let mut said = Vec::new();
    let mut chunk = [0; 1024];
    while said.len() < MAX_COMPLAINT {
        match complaint.read(&mut chunk) {
            Ok(count) if count > 0 => said.extend_from_slice(&chunk[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty())?;
    // Our own line names the program already.
    Some(display::text(line.strip_prefix("keyfobd: ").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn start_script(script: &str, patience: Duration) -> Result<(), Error> {
        let directory = tempfile::tempdir().unwrap();
        let [text, program] = ["text", "keyfobd"].map(|name| directory.path().join(name));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // Made by another process: a program that this one has open for writing cannot be run.
        let made = Command::new("install").args(["-m", "700"]).args([&text, &program]).status().unwrap();
        assert!(made.success());
        start(Some(program.as_os_str()), Deadline::after(patience))
    }

    #[test]
    fn the_last_line_of_a_complaint_is_told_without_its_control_characters() {
        let error = start_script("echo first >&2; printf 'keyfobd: no \\033[2Jdisk\\n\\n' >&2; exit 1", LONG)
            .unwrap_err();
        assert_eq!(error.to_string(), "keyfobd did not start: no [2Jdisk; to see all of it run: keyfobd");
    }

    #[test]
    fn a_daemon_that_ends_without_a_word_is_told_too() {
        let error = start(Some(OsStr::new("/bin/false")), Deadline::after(LONG)).unwrap_err();
        assert!(error.to_string().contains("without a word (exit status: 1)"), "{error}");
    }

    #[test]
    fn a_daemon_that_is_slow_is_not_waited_for() {
        assert!(matches!(start_script("exec sleep 1", Duration::from_millis(10)), Err(Error::Late)));
    }
}
