//! The daemon as the commands see it: reached, started where that is allowed, asked.
//!
//! The thing to get wrong: of two shims that start a daemon at once, one's daemon finds the other's and may be gone
//! before that one listens. So the socket is tried for a while after a start, and also after one that failed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use keyfob_protocol::socket;
use serde::de::DeserializeOwned;

use crate::answer::Answer;
use crate::autostart::{self, Autostart};
use crate::clock::{Deadline, pause};
use crate::connection::{Connection, Error, Request};
use crate::environment::Environment;
use crate::failure::Failure;

/// How long a daemon may take to start: half of what `keyfob token` allows itself, so that the rest is left to ask.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How often the socket of a starting daemon is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the daemon is, and whether it may be started.
pub(crate) struct Client {
    socket: PathBuf,
    autostart: Autostart,
}

impl Client {
    /// Finds the socket.
    pub(crate) fn find(environment: &Environment, autostart: Autostart) -> Result<Self, Failure> {
        Ok(Self { socket: socket::find(environment.socket.clone())?, autostart })
    }

    /// Returns the same daemon, but never a new one in its place.
    pub(crate) fn running(&self) -> Self {
        Self { socket: self.socket.clone(), autostart: Autostart::Never }
    }

    /// Connects; starts a daemon where none answers.
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<Connection, Failure> {
        match (self.open(deadline), &self.autostart) {
            (Err(Error::Absent), Autostart::Once(program)) => self.start(program.as_deref(), deadline),
            (opened, Autostart::Once(_) | Autostart::Never) => {
                opened.map_err(|error| self.unreachable(error))
            }
        }
    }

    /// Connects, and starts nothing.
    pub(crate) fn open(&self, deadline: Deadline) -> Result<Connection, Error> {
        Connection::open(&self.socket, deadline)
    }

    /// Asks, and returns what the daemon did.
    pub(crate) fn ask(&self, request: &Request, deadline: Deadline) -> Result<Answer, Failure> {
        let answer =
            self.connect(deadline)?.ask(request, deadline).map_err(|error| self.unreachable(error))?;
        if answer.is_success() { Ok(answer) } else { Err(Failure::refused(&answer)) }
    }

    /// Asks, and reads the answer.
    pub(crate) fn ask_for<T: DeserializeOwned>(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> Result<T, Failure> {
        read(&self.ask(request, deadline)?)
    }

    /// Names the socket in an error.
    pub(crate) fn unreachable(&self, error: Error) -> Failure {
        Failure::Unreachable { socket: self.socket.clone(), error }
    }

    fn start(&self, program: Option<&OsStr>, deadline: Deadline) -> Result<Connection, Failure> {
        let until = deadline.min(Deadline::after(START_PATIENCE));
        let (until, error) = match autostart::start(program, until) {
            Ok(()) => (until, autostart::Error::Late),
            Err(error) => (until.min(Deadline::after(error.grace())), error),
        };
        loop {
            match self.open(deadline) {
                Err(Error::Absent) => {}
                opened => return opened.map_err(|error| self.unreachable(error)),
            }
            if until.left().is_none() {
                return Err(error.into());
            }
            pause(PAUSE);
        }
    }
}

/// Reads a success.
pub(crate) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| Failure::Unexplained { status: answer.status })
}
