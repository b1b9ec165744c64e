//! What systemd hands over at the start: the socket, and the sealed records that it kept since an earlier daemon.
//!
//! They are told apart by name. The thing to get wrong: a descriptor here may be anything, so it is looked at before it
//! is opened, and only memory and plain files are.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use keyfob_daemon::store::custody::{Custodian, Messenger, Order, PREFIX};
use listenfd::ListenFd;
use rustix::fs::{FileType, Mode, OFlags};
use sd_notify::NotifyState;

/// Below it are the standard streams.
const FIRST_FOREIGN_DESCRIPTOR: RawFd = 3;

/// What systemd handed over.
pub(crate) struct Inherited {
    /// The socket, if systemd listens for us.
    pub(crate) socket: Option<UnixListener>,
    /// Sealed records, by name.
    kept: Vec<(String, OwnedFd)>,
}

/// Takes what was handed over, by the names that `$LISTEN_FDNAMES` gives.
///
/// # Errors
/// Fails where the first that is none of our records is no listening socket.
pub(crate) fn take(names: Option<&OsStr>) -> io::Result<Inherited> {
    let names = names.and_then(OsStr::to_str).unwrap_or_default();
    let mut names = names.split(':');
    let mut handed_over = ListenFd::from_env();
    let mut inherited = Inherited { socket: None, kept: Vec::new() };
    for index in 0..handed_over.len() {
        match names.next() {
            Some(name) if name.starts_with(PREFIX) => {
                let Some(number) = handed_over.take_raw_fd(index)? else { continue };
                match opened_anew(number) {
                    Ok(fd) => inherited.kept.push((name.to_owned(), fd)),
                    Err(error) => {
                        tracing::warn!(name, %error, "ignored a descriptor that was kept for us");
                    }
                }
            }
            Some(_) | None if inherited.socket.is_none() => {
                inherited.socket = handed_over.take_unix_listener(index)?;
            }
            Some(_) | None => {}
        }
    }
    // Programs that print tokens get none of it.
    close_fds::set_fds_cloexec(FIRST_FOREIGN_DESCRIPTOR, &[]);
    Ok(inherited)
}

impl Inherited {
    /// Returns the socket, and systemd as a keeper of sealed records.
    pub(crate) fn part(self, notify_socket: Option<&OsStr>) -> (Option<UnixListener>, Custodian) {
        let messenger: Messenger = match notify_socket {
            Some(_) => Box::new(tell_systemd),
            None => Box::new(|_| Err(io::Error::new(io::ErrorKind::NotConnected, "systemd is not there"))),
        };
        (self.socket, Custodian { kept: self.kept, messenger })
    }
}

/// Opens a descriptor once more, which gives one that is closed when it is dropped. The number itself stays open until
/// the daemon ends: safe code cannot take it.
fn opened_anew(number: RawFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    let kind = FileType::from_raw_mode(rustix::fs::stat(&path)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no memory"));
    }
    Ok(rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
}

fn tell_systemd(order: Order<'_>) -> io::Result<()> {
    match order {
        Order::Keep { name, memory } => {
            sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[memory])
        }
        Order::Release { name } => {
            sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
        }
    }
}
