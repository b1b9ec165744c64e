//! Who is at the other end of a connection.
//!
//! Only the user's own programs are answered: not root either, since a script under sudo should not get a user's
//! tokens by accident.

#[cfg(target_os = "linux")]
mod process;

use interprocess::os::unix::uds_local_socket::tokio::Stream;

use crate::api::socket::AcceptError;
use crate::cache::rejection::Consumer;

/// The process at the other end, as the kernel knew it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its pid, where the system tells it.
    pub pid: Option<i32>,
}

impl Peer {
    /// Returns the process that the token is for, if the peer is a token command that another program runs.
    ///
    /// A program that speaks to the socket itself is nobody's consumer: it may ask for each request of its own, and it
    /// can say that its token was refused.
    #[cfg(target_os = "linux")]
    pub(super) fn consumer(&self) -> Option<Consumer> {
        process::consumer(self.pid?)
    }

    /// Returns nobody: only `/proc` tells who runs a token command.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn consumer(&self) -> Option<Consumer> {
        None
    }
}

/// Returns who is at the other end, if it is one of this user's programs.
///
/// A process of another pid namespace has no pid here, which is no reason to refuse it: its user is known all the same.
pub(super) fn own(stream: &Stream, uid: u32) -> Result<Peer, AcceptError> {
    // Not interprocess's own question, to which a peer without a pid is an error.
    match stream.inner().peer_cred() {
        Ok(peer) if peer.uid() == uid => Ok(Peer { uid, pid: peer.pid().filter(|pid| *pid > 0) }),
        Ok(peer) => Err(AcceptError::Stranger { uid: Some(peer.uid()) }),
        Err(error) => {
            tracing::debug!(%error, "the system does not tell whose a connection is");
            Err(AcceptError::Stranger { uid: None })
        }
    }
}
