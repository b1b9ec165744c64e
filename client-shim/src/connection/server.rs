//! Whose socket it is: looked at before a byte is sent, since a question may carry a secret and an answer is believed.
//!
//! The thing to get wrong: what a path leads to now is not what it leads to a moment later. So in the end it is the
//! connection that is looked at, whose server nobody can change any more.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use keyfob_protocol::socket::reachable;
use keyfob_protocol::user;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, statat};
use rustix::net::SocketAddrUnix;
use rustix::process::geteuid;

use super::{Error, during_connect};

/// What a directory may not let others do: put a socket of theirs in the place of ours.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A socket of this user.
pub(super) struct Site {
    pub(super) address: SocketAddrUnix,
    /// The address may be one through it.
    _directory: OwnedFd,
}

/// Finds the socket, if nobody else can have put it there.
pub(super) fn find(socket: &Path) -> Result<Site, Error> {
    let uid = geteuid().as_raw();
    let name = socket.file_name().ok_or(Error::Absent)?;
    let parent = socket.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent.unwrap_or(Path::new(".")), flags, Mode::empty()).map_err(during_connect)?;
    let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(during_connect)?;
    let around = fstat(&directory).map_err(during_connect)?;
    if !user::is_distinct(uid) {
        return Err(Error::Unsafe("other users look like you in this user namespace"));
    }
    if around.st_uid != uid {
        return Err(Error::Unsafe("its directory belongs to another user"));
    }
    if around.st_mode & WRITABLE_BY_OTHERS != 0 {
        return Err(Error::Unsafe("others may write to its directory"));
    }
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(Error::Unsafe("it is no socket"));
    }
    if found.st_uid != uid {
        return Err(Error::Unsafe("it belongs to another user"));
    }
    let address = SocketAddrUnix::new(&*reachable(socket, directory.as_fd())).map_err(during_connect)?;
    Ok(Site { address, _directory: directory })
}

/// Makes sure that who listens at the other end is this user.
pub(super) fn check(stream: &UnixStream) -> Result<(), Error> {
    let server = getsockopt(&stream.as_fd(), PeerCredentials).map_err(|errno| Error::Io(errno.into()))?;
    if server.uid() == geteuid().as_raw() { Ok(()) } else { Err(Error::Unsafe("another user listens there")) }
}
