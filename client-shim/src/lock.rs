//! `keyfob lock` and `keyfob unlock`.
//!
//! The thing to get wrong: a lock that failed must not look like one, so nothing is said before the daemon has said it.

use std::time::Duration;

use keyfob_protocol::lock::{LockRequest, LockState, LockStatus};
use secrecy::{ExposeSecret, SecretString};

use crate::arguments::lock::Source;
use crate::client::{self, Client};
use crate::clock::Deadline;
use crate::connection::{Error, Method, Request};
use crate::failure::Failure;
use crate::passphrase;

/// How long locking may take: renewals that are under way end first, which takes 20 seconds at most.
const LOCKING: Duration = Duration::from_secs(40);

/// How long unlocking may take: after wrong passphrases others may be before us, 10 seconds each.
const UNLOCKING: Duration = Duration::from_secs(120);

/// How long the daemon may take to say how it is.
const LOOKING: Duration = Duration::from_secs(20);

/// Locks, and returns what to say about it.
pub(crate) fn lock(passphrase: Option<Source>, client: &Client) -> Result<String, Failure> {
    let passphrase = passphrase.map(passphrase::to_set).transpose()?;
    let request = question("/v1/lock", passphrase.as_ref());
    let status: LockStatus = client.ask_for(&request, Deadline::after(LOCKING))?;
    Ok(if status.takes_passphrase {
        "keyfob is locked, with a passphrase; to unlock it run: keyfob unlock\n".to_owned()
    } else {
        "keyfob is locked; to unlock it run: keyfob unlock\n".to_owned()
    })
}

/// Unlocks, and returns what to say about it.
pub(crate) fn unlock(source: Source, client: &Client) -> Result<String, Failure> {
    let deadline = Deadline::after(LOOKING);
    let connection = match client.open(deadline) {
        Err(Error::Absent) => return Ok("keyfobd is not running, so nothing is locked\n".to_owned()),
        opened => opened.map_err(|error| client.unreachable(error))?,
    };
    let answer = connection.ask(&Request::new(Method::Get, "/v1/lock"), deadline);
    let answer = answer.map_err(|error| client.unreachable(error))?;
    if !answer.is_success() {
        return Err(Failure::refused(&answer));
    }
    let status: LockStatus = client::read(&answer)?;
    if status.state == LockState::Open {
        return Ok("keyfob is not locked\n".to_owned());
    }
    let passphrase = if status.takes_passphrase { Some(passphrase::to_give(source)?) } else { None };
    client.ask(&question("/v1/unlock", passphrase.as_ref()), Deadline::after(UNLOCKING))?;
    Ok("keyfob is unlocked\n".to_owned())
}

fn question(path: &str, passphrase: Option<&SecretString>) -> Request {
    let passphrase = passphrase.map(|passphrase| passphrase.expose_secret().to_owned());
    // A structure of texts is always JSON.
    let body = serde_json::to_string(&LockRequest { passphrase }).unwrap_or_default();
    Request::new(Method::Post, path).with(body)
}
