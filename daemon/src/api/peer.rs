//! Who is at the other end of a connection.
//!
//! Only the user's own programs are answered: not root either, since a script under sudo should not get a user's
//! tokens by accident.

#[cfg(target_os = "linux")]
mod process;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::tokio::Stream;

use crate::api::socket::OwnSocket;
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

impl Connected<IncomingStream<'_, OwnSocket>> for Peer {
    fn connect_info(stream: IncomingStream<'_, OwnSocket>) -> Self {
        *stream.remote_addr()
    }
}

/// Returns who is at the other end, if it is one of this user's programs.
pub(super) fn own(stream: &Stream, uid: u32) -> Option<Peer> {
    let credentials = stream.peer_creds();
    match credentials.as_ref().map(|known| (known.euid(), known.pid())) {
        Ok((Some(peer), pid)) if peer == uid => Some(Peer { uid: peer, pid }),
        Ok((peer, _)) => {
            tracing::warn!(?peer, "refused a connection from another user");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection whose user is unknown");
            None
        }
    }
}
