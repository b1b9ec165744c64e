//! Who is at the other end of a connection.
//!
//! Only the user's own programs are answered: not root either, since a script under sudo should not get a user's
//! tokens by accident. Which of the user's programs it is, is for an account's policy and for the audit. The thing to get
//! wrong: a pid is another process's one day, so the process is held on to, and looked at only as long as it lives.

pub(super) mod known;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod unit;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use interprocess::os::unix::uds_local_socket::tokio::Stream;

use crate::account::policy::Asker;
use crate::api::socket::AcceptError;
use crate::cache::rejection::Consumer;

/// Who connected, as the kernel knew it then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials {
    uid: u32,
    /// Where the system tells it.
    pid: Option<i32>,
}

/// The process at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its pid, where the system tells it.
    pub pid: Option<i32>,
    process: Arc<Process>,
}

/// What its connections share.
#[derive(Debug, Default)]
struct Process {
    /// Holds on to it, where that is possible.
    handle: Option<OwnedFd>,
    /// What was seen of it at the first request, for the audit.
    noted: OnceLock<Asker>,
}

/// What a look at a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be written down. Nothing depends on it, and it is looked at once for a connection, or for several ([`known`]).
    Audit,
    /// To decide by it.
    Policy,
}

/// What a peer says that it is. It proves nothing: whatever it says, the program that counts is one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A program that speaks to the socket for itself.
    Program,
    /// The token command, which asks for the program that runs it.
    TokenCommand,
}

/// Whom a token is for.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The program.
    pub(super) asker: Asker,
    /// The same as one that may come back because a server refused its token.
    ///
    /// A program that speaks to the socket itself is nobody's consumer: it may ask for each request of its own, and it
    /// can say that its token was refused.
    pub(super) consumer: Option<Consumer>,
}

impl Peer {
    /// Returns a peer of which nothing but its user is known.
    #[cfg(fuzzing)]
    pub(crate) fn unknown(uid: u32) -> Self {
        Self { uid, pid: None, process: Arc::default() }
    }

    /// Looks at the program that a token is for: the one that runs the peer, if that is the token command, or else the
    /// peer.
    pub(super) fn look(&self, claim: Claim, purpose: Purpose) -> Seen {
        match (claim, purpose) {
            (Claim::Program, Purpose::Audit) => {
                let asker = self.process.noted.get_or_init(|| self.see(claim, purpose).asker).clone();
                Seen { asker, consumer: None }
            }
            (Claim::TokenCommand, _) | (Claim::Program, Purpose::Policy) => self.see(claim, purpose),
        }
    }

    #[cfg(target_os = "linux")]
    fn see(&self, claim: Claim, purpose: Purpose) -> Seen {
        let Some((pid, handle)) = self.pid.zip(self.process.handle.as_ref()) else { return self.unseen() };
        let behind = match claim {
            Claim::TokenCommand => process::behind(pid, purpose),
            Claim::Program => None,
        };
        let seen = behind.unwrap_or_else(|| Seen { asker: process::itself(pid, purpose), consumer: None });
        // Had it ended before, what was looked at might be another process by now.
        if process::lives(handle) { seen } else { self.unseen() }
    }

    /// Returns nobody: only `/proc` tells.
    #[cfg(not(target_os = "linux"))]
    fn see(&self, _claim: Claim, _purpose: Purpose) -> Seen {
        self.unseen()
    }

    fn unseen(&self) -> Seen {
        Seen { asker: Asker::unseen(self.pid), consumer: None }
    }
}

/// Returns who is at the other end, if it is one of this user's programs.
///
/// A process of another pid namespace has no pid here, which is no reason to refuse it: its user is known all the same.
pub(super) fn own(stream: &Stream, uid: u32) -> Result<Credentials, AcceptError> {
    // Not interprocess's own question, to which a peer without a pid is an error.
    match stream.inner().peer_cred() {
        Ok(peer) if peer.uid() == uid => Ok(Credentials { uid, pid: peer.pid().filter(|pid| *pid > 0) }),
        Ok(peer) => Err(AcceptError::Stranger { uid: Some(peer.uid()) }),
        Err(error) => {
            tracing::debug!(%error, "the system does not tell whose a connection is");
            Err(AcceptError::Stranger { uid: None })
        }
    }
}

impl Process {
    #[cfg(target_os = "linux")]
    fn hold(stream: &impl AsFd, pid: Option<i32>) -> Self {
        Self { handle: pid.and_then(|pid| process::hold(stream, pid)), noted: OnceLock::new() }
    }

    #[cfg(not(target_os = "linux"))]
    fn hold(_stream: &impl AsFd, _pid: Option<i32>) -> Self {
        Self::default()
    }

    #[cfg(target_os = "linux")]
    fn lives(&self) -> bool {
        self.handle.as_ref().is_some_and(process::lives)
    }

    #[cfg(not(target_os = "linux"))]
    fn lives(&self) -> bool {
        false
    }
}
