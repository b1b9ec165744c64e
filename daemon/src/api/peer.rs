//! Who is at the other end of a connection.
//!
//! Only the user's own programs are answered: not root either, since a script under sudo should not get a user's
//! tokens by accident.

use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::tokio::Stream;

/// The process at the other end, as the kernel knew it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
}

/// Returns who is at the other end, if it is one of this user's programs.
pub(super) fn own(stream: &Stream, uid: u32) -> Option<Peer> {
    match stream.peer_creds().map(|credentials| credentials.euid()) {
        Ok(Some(peer)) if peer == uid => Some(Peer { uid: peer }),
        Ok(peer) => {
            tracing::warn!(?peer, "refused a connection from another user");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection whose user is unknown");
            None
        }
    }
}
