//! The socket: made here, or handed over by systemd.
//!
//! It is 0600 before it has a name, in a directory that is ours alone, and gets its name when it listens. Who is the daemon
//! is decided by the lock on the state directory, not by the socket: so a socket that is in the way and answers nobody is
//! a leftover, and is replaced. The thing to get wrong: one that answers is somebody's, and is left alone.

mod directory;
mod handed_over;
mod place;
mod watch;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::os::unix::uds_local_socket::tokio::{Listener, Stream};
use keyfob_protocol::socket::MAX_PATH;
use keyfob_protocol::user;
use tokio::time::{Instant, sleep_until};

use crate::api::peer::{self, Credentials};
use crate::api::socket::place::Place;
use crate::api::socket::watch::Watch;

/// How long after the system did not let us put the socket back it is tried again: until then nobody reaches us, and the lock
/// keeps others from taking our place.
const RETRY: Duration = Duration::from_secs(5);

/// A socket that answers this user's programs only.
pub struct OwnSocket {
    listener: Listener,
    uid: u32,
    /// Where it is, if it is ours to put back and to remove.
    place: Option<(Place, Watch)>,
    /// When it is put back, if it was removed and the system did not let us.
    retry_at: Option<Instant>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something answers there.
    #[error("a daemon answers at {0} already")]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{path} is in the way: it is {what}; remove it, or set KEYFOB_SOCKET")]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The name does not fit into a socket's address.
    #[error(
        "the file name of {0} is too long for a socket, whose address has {MAX_PATH} bytes; set KEYFOB_SOCKET to a shorter one"
    )]
    TooLong(PathBuf),
    /// Others could put a socket of their own there.
    #[error("{path} is not a directory of this user alone: {why}; run: chmod 700 {path}")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What was handed over is not what it should be.
    #[error("the socket that was handed over is of no use: {0}; see keyfobd.socket")]
    Unfit(&'static str),
    /// Other users look like ours.
    #[error(
        "in this user namespace other users look like this one: map the user (unshare --map-current-user)"
    )]
    Indistinct,
    /// The system refused.
    #[error("cannot listen at {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why there is no new connection, although there could be one.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is another user's.
    #[error("another user")]
    Stranger {
        /// Who, where the system tells it.
        uid: Option<u32>,
    },
    /// The system refused.
    #[error(transparent)]
    Io(io::Error),
}

impl OwnSocket {
    /// Makes the socket, and its directory if there is none. A leftover of a daemon that was killed is replaced.
    ///
    /// # Errors
    /// Fails where a daemon answers, where something else is in the way, and where others could get in.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let uid = own_uid()?;
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        let (place, listener) = Place::take(path)?;
        let watch = Watch::of(place.directory()).map_err(failed)?;
        let listener = Listener::try_from(listener).map_err(failed)?;
        Ok(Self { listener, uid, place: Some((place, watch)), retry_at: None })
    }

    /// Takes over a socket that listens already, as systemd hands it over. It stays when the daemon ends.
    ///
    /// # Errors
    /// Fails where it is not a listening Unix socket that this user's programs alone can reach.
    pub fn inherit(listener: UnixListener) -> Result<Self, SocketError> {
        let uid = own_uid()?;
        let path = handed_over::check(&listener, uid)?;
        let listener =
            Listener::try_from(OwnedFd::from(listener)).map_err(|source| SocketError::Io { path, source })?;
        Ok(Self { listener, uid, place: None, retry_at: None })
    }

    /// Waits for one of this user's programs. Meanwhile it puts the socket back where somebody removes it.
    ///
    /// # Errors
    /// Fails where another user's program connected, which is not connected any more then, and where the system refuses.
    pub(super) async fn accept(&mut self) -> Result<(Stream, Credentials), AcceptError> {
        loop {
            tokio::select! {
                // Who has connected to a socket that is gone comes before those who will connect to the next one.
                biased;
                accepted = self.listener.accept() => {
                    let stream = accepted.map_err(AcceptError::Io)?;
                    let from = peer::own(&stream, self.uid)?;
                    return Ok((stream, from));
                }
                () = changed(self.place.as_mut()) => self.restore(),
                () = until(self.retry_at) => self.restore(),
            }
        }
    }

    /// Puts the socket back if somebody removed it, again and again where the system does not let us. Nobody can connect to the old one any more, so it is given up.
    fn restore(&mut self) {
        let Some((place, _)) = self.place.as_ref().filter(|(place, _)| !place.is_ours()) else {
            self.retry_at = None;
            return;
        };
        let path = place.path().to_owned();
        match Self::bind(&path) {
            Ok(new) => {
                tracing::warn!(path = %path.display(), "the socket was removed: put it back");
                *self = new;
            }
            Err(error) => {
                let is_passing = matches!(error, SocketError::Io { .. });
                self.retry_at = is_passing.then(|| Instant::now() + RETRY);
                let error = crate::token::failure::told(&error);
                tracing::error!(error, "the socket was removed, and cannot be put back");
            }
        }
    }

    /// Takes the socket's name away, so that nobody connects to a daemon that does not answer any more.
    pub(super) fn retire(&mut self) {
        if let Some((place, _)) = self.place.take()
            && let Err(error) = place.leave()
        {
            tracing::warn!(%error, path = %place.path().display(), "cannot remove the socket");
        }
    }
}

/// Tells whether a daemon answers at a path.
pub fn answers(path: &Path) -> bool {
    place::answers(path)
}

/// Returns our uid, if nobody else can look like it.
fn own_uid() -> Result<u32, SocketError> {
    let uid = rustix::process::geteuid().as_raw();
    if user::is_distinct(uid) { Ok(uid) } else { Err(SocketError::Indistinct) }
}

/// Waits for a time; for ever where there is none.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until something changes where a socket is; for ever where it is not ours.
async fn changed(place: Option<&mut (Place, Watch)>) {
    match place {
        Some((_, watch)) => watch.changed().await,
        None => std::future::pending().await,
    }
}
