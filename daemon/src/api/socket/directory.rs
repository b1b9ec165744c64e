//! The directory of the socket, opened once: what was looked at is what is used.
//!
//! The thing to get wrong: a path leads somewhere else a moment later, for whoever may rename what is on its way. So the
//! names in it are reached through the descriptor alone.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use keyfob_protocol::socket::reachable;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, open, statat};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::api::socket::SocketError;

/// What a directory may let others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing: it is made by us.
    Nothing,
    /// Enter and look: somebody else made it.
    Look,
}

impl Others {
    /// Returns the bits of the mode that it may not have.
    fn forbidden(self) -> u32 {
        match self {
            Self::Nothing => 0o077,
            Self::Look => 0o022,
        }
    }
}

/// A directory that belongs to this user.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Makes the directory if there is none, and opens it.
    pub(super) fn make(path: &Path) -> Result<Self, SocketError> {
        match Self::open(path, Others::Nothing) {
            Err(SocketError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().mode(0o700).recursive(true).create(path);
                made.map_err(|source| SocketError::Io { path: path.to_owned(), source })?;
                Self::open(path, Others::Nothing)
            }
            opened => opened,
        }
    }

    /// Opens a directory of this user.
    pub(super) fn open(path: &Path, others: Others) -> Result<Self, SocketError> {
        let refused = |why| SocketError::Unsafe { path: path.to_owned(), why };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty());
        let fd = opened.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => refused("it is something else, or a symbolic link"),
            _ => SocketError::Io { path: path.to_owned(), source: errno.into() },
        })?;
        let found =
            fstat(&fd).map_err(|errno| SocketError::Io { path: path.to_owned(), source: errno.into() })?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(refused("another user owns it"));
        }
        if found.st_mode & others.forbidden() != 0 {
            return Err(refused(match others {
                Others::Nothing => "others may enter it",
                Others::Look => "others may write to it",
            }));
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns what a name in it is, without following it; nothing where it is not there.
    pub(super) fn look_at(&self, name: &Path) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the address of a socket in it, which may be one through the descriptor.
    pub(super) fn address(&self, name: &Path) -> Result<SocketAddrUnix, SocketError> {
        let path = self.path.join(name);
        let address = SocketAddrUnix::new(&*reachable(&path, self.fd()));
        address.map_err(|errno| match errno {
            Errno::NAMETOOLONG => SocketError::TooLong(path),
            _ => SocketError::Io { path, source: errno.into() },
        })
    }

    /// Returns the name under which the kernel shows the open directory.
    pub(super) fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }
}
