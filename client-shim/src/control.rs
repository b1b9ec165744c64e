//! `keyfob reload` and `keyfob stop`.
//!
//! The thing to get wrong: where systemd holds the socket, whoever connects to see whether the daemon is gone starts
//! the next one. So its process is waited for, and only where that cannot be done, the socket is looked at.

use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::daemon::{ReloadReport, Version};

use crate::client::{self, Client};
use crate::clock::{Deadline, pause};
use crate::connection::{Error, Method, Request};
use crate::failure::Failure;
use crate::process::Process;

/// The daemon's name as a process.
const PROGRAM: &str = "keyfobd";

/// How long the daemon may take to read its configuration: each account's file and secret, none of them remote.
const RELOADING: Duration = Duration::from_secs(20);

/// How long the daemon may take to go: the longest exchange with an issuer is 15 seconds.
const STOPPING: Duration = Duration::from_secs(20);

/// How often the socket of a daemon that is going is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Has the daemon read its configuration again, and returns what that changed.
pub(crate) fn reload(client: &Client) -> Result<String, Failure> {
    let request = Request::new(Method::Post, "/v1/reload");
    let report: ReloadReport = client.ask_for(&request, Deadline::after(RELOADING))?;
    Ok(words(&report))
}

/// Ends the daemon, and returns what came of it.
pub(crate) fn stop(client: &Client) -> Result<String, Failure> {
    let deadline = Deadline::after(STOPPING);
    let connection = match client.open(deadline) {
        Err(Error::Absent) => return Ok("keyfobd is not running\n".to_owned()),
        opened => opened.map_err(|error| client.unreachable(error))?,
    };
    let answer = connection.ask(&which(), deadline).map_err(|error| client.unreachable(error))?;
    if !answer.is_success() {
        return Err(Failure::refused(&answer));
    }
    let Version { pid, .. } = client::read(&answer)?;
    let process = Process::find(pid, PROGRAM);
    client.ask(&Request::new(Method::Post, "/v1/stop"), deadline)?;
    let successor = match process {
        Some(process) if process.ends_by(deadline) => None,
        Some(_) => return Err(Failure::StillRunning(pid)),
        None => socket_is_left(client, pid, deadline)?,
    };
    Ok(match successor {
        None => format!("keyfobd (pid {pid}) has stopped\n"),
        Some(successor) => {
            format!("keyfobd (pid {pid}) has stopped; another (pid {successor}) took its place\n")
        }
    })
}

/// Waits until the daemon does not answer any more, and returns the id of the one that answers in its place.
fn socket_is_left(client: &Client, pid: u32, deadline: Deadline) -> Result<Option<u32>, Failure> {
    while deadline.left().is_some() {
        match client.open(deadline) {
            Err(Error::Absent) => return Ok(None),
            // A daemon that is going may hang up on us, or not answer any more.
            Err(_) => {}
            Ok(connection) => {
                let answer = connection.ask(&which(), deadline);
                let now = answer.ok().and_then(|answer| client::read::<Version>(&answer).ok());
                if let Some(now) = now.filter(|now| now.pid != pid) {
                    return Ok(Some(now.pid));
                }
            }
        }
        pause(PAUSE);
    }
    Err(Failure::StillRunning(pid))
}

/// Asks the daemon which one it is.
pub(crate) fn version(client: &Client) -> Result<Version, Failure> {
    client.ask_for(&which(), Deadline::after(RELOADING))
}

fn which() -> Request {
    Request::new(Method::Get, "/v1/version")
}

fn words(report: &ReloadReport) -> String {
    let ReloadReport { added, changed, kept, removed } = report;
    let mut text = String::new();
    for (what, accounts) in [
        ("added", added),
        ("changed, their tokens are not used any more", changed),
        ("kept", kept),
        ("removed", removed),
    ] {
        if !accounts.is_empty() {
            let names: Vec<&str> = accounts.iter().map(AccountName::as_str).collect();
            text.push_str(&format!("{what}: {}\n", names.join(", ")));
        }
    }
    if text.is_empty() { "the configuration has no accounts\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_became_of_each_account() {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let report = ReloadReport {
            added: names(&["new"]),
            changed: names(&["corp"]),
            kept: names(&["prod", "dev"]),
            removed: Vec::new(),
        };
        assert_eq!(
            words(&report),
            "added: new\nchanged, their tokens are not used any more: corp\nkept: prod, dev\n"
        );
        assert_eq!(words(&ReloadReport::default()), "the configuration has no accounts\n");
    }
}
