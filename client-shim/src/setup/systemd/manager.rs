//! The service manager of the user, as `systemctl --user` speaks to it.
//!
//! The thing to get wrong: over SSH without a session, in containers and under `su` there is none, which a person has to
//! be told in words that help.

use std::io::{ErrorKind, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clock::{Deadline, pause};
use crate::display;
use crate::setup::error::Error;

/// What speaks to the manager.
const PROGRAM: &str = "systemctl";

/// The longest that it may take: a service that is started anew may have to finish a renewal.
const LIMIT: Duration = Duration::from_secs(90);

/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Enough of a complaint for the line that matters.
const MAX_COMPLAINT: u64 = 4 * 1024;

/// The manager of the user's services.
pub(super) struct Manager(());

impl Manager {
    /// Finds out whether there is one that answers.
    pub(super) fn find() -> Result<Self, Error> {
        match systemctl(&["show", "--property=Version"]) {
            Ok(()) => Ok(Self(())),
            Err(reason) => Err(Error::NoManager(reason)),
        }
    }

    /// Gives it an order.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), Error> {
        systemctl(arguments).map_err(|reason| Error::Systemctl { order: arguments.join(" "), reason })
    }

    /// Asks it something that it answers by its exit code.
    pub(super) fn says_yes(&self, arguments: &[&str]) -> bool {
        systemctl(arguments).is_ok()
    }
}

/// Runs it to its end, and returns why it failed.
fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let mut child = Command::new(PROGRAM)
        .arg("--user")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() == ErrorKind::NotFound {
            true => format!("there is no {PROGRAM}"),
            false => format!("{PROGRAM} cannot be run: {error}"),
        })?;
    let deadline = Deadline::after(LIMIT);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if deadline.left().is_some() => pause(PAUSE),
            Ok(None) => {
                // It may end in this moment.
                child.kill().unwrap_or_default();
                return Err(format!("{PROGRAM} did not end within {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("{PROGRAM} cannot be waited for: {error}")),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What it said explains; that it failed is known.
        stderr.take(MAX_COMPLAINT).read_to_end(&mut said).unwrap_or_default();
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.trim().is_empty()).map(display::text);
    Err(line.unwrap_or_else(|| format!("{PROGRAM} failed ({status})")))
}
