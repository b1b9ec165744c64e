//! The socket: made here, or handed over by systemd.
//!
//! It is 0600 before it has a name, in a directory that is ours alone. Who is the daemon is decided by the lock on the
//! state directory, not by the socket: so a socket that is in the way and answers nobody is a leftover.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::serve::Listener;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::tokio::{Listener as LocalListener, Stream};
use keyfob_protocol::socket::MAX_PATH;

use super::peer::{self, Peer};

/// Where a failed accept is tried again: the usual cause is a lack of descriptors, which takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that answers this user's programs only.
pub struct OwnSocket {
    listener: LocalListener,
    uid: u32,
    path: Option<PathBuf>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something answers there.
    #[error("a daemon answers at {0} already")]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0} is in the way: it is not a socket; remove it, or set KEYFOB_SOCKET")]
    Occupied(PathBuf),
    /// The path does not fit into a socket's address.
    #[error(
        "{0} is longer than the {MAX_PATH} bytes that a socket's path may have; set KEYFOB_SOCKET to a shorter one"
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
    /// The system refused.
    #[error("cannot listen at {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OwnSocket {
    /// Makes the socket, and its directory if there is none. A leftover of a daemon that was killed is replaced.
    ///
    /// # Errors
    /// Fails where a daemon answers, where something else is in the way, and where others could get in.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if path.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            own_directory(directory)?;
        }
        clear(path)?;
        let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
        let listener = ListenerOptions::new()
            .name(name)
            .mode(0o600)
            .reclaim_name(false)
            .create_tokio_as()
            .map_err(failed)?;
        Ok(Self { listener, uid: own_uid(), path: Some(path.to_owned()) })
    }

    /// Takes over a socket that listens already, as systemd hands it over. It stays when the daemon ends.
    ///
    /// # Errors
    /// Fails where it is not a listening Unix socket.
    pub fn inherit(listener: UnixListener) -> io::Result<Self> {
        let listener = LocalListener::try_from(OwnedFd::from(listener))?;
        Ok(Self { listener, uid: own_uid(), path: None })
    }

    /// Returns the socket's name, if it is ours to remove when the daemon ends.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.clone()
    }
}

impl Listener for OwnSocket {
    type Io = Stream;
    type Addr = Peer;

    async fn accept(&mut self) -> (Stream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    if let Some(peer) = peer::own(&stream, self.uid) {
                        return (stream, peer);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer { uid: self.uid, pid: None })
    }
}

/// Tells whether a daemon answers at a path.
pub fn answers(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Makes a directory that is ours alone, or checks that it is.
fn own_directory(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let refused = |why| SocketError::Unsafe { path: path.to_owned(), why };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.is_dir() => Err(refused("it is something else")),
        Ok(metadata) if metadata.uid() != own_uid() => Err(refused("another user owns it")),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => Err(refused("others may enter it")),
        Ok(_) => Ok(()),
    }
}

/// Removes a socket that nobody answers.
fn clear(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::Occupied(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}
