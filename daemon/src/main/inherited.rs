//! What systemd hands over at the start: the socket, and the sealed records that it kept since an earlier daemon.
//!
//! They are told apart by name. The thing to get wrong: the environment is inherited by whoever is started, so what it says
//! is for us only if it names our process; and a descriptor may be anything, so it is looked at before it is opened.

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

/// How many descriptors are taken: twice the records that keyfobd.service lets systemd keep.
const MAX_DESCRIPTORS: usize = 128;

/// What systemd handed over.
pub(crate) struct Inherited {
    /// The socket, if systemd listens for us.
    pub(crate) socket: Option<UnixListener>,
    /// Sealed records, by name.
    kept: Vec<(String, OwnedFd)>,
}

/// Why nothing of what was handed over is taken: to go on without it would be a daemon that nobody reaches.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InheritedError {
    #[error("LISTEN_FDS is {0}, which is no number of descriptors up to {MAX_DESCRIPTORS}")]
    Count(String),
    #[error("LISTEN_FDNAMES has {names} names for {count} descriptors")]
    Names { names: usize, count: usize },
    #[error("LISTEN_FDS_FIRST_FD is set, which systemd does not do; unset it")]
    FirstDescriptor,
    #[error("more than one socket was handed over, and keyfobd serves one; see keyfobd.socket")]
    Several,
    #[error("what was handed over as the socket is none")]
    NoSocket(#[source] io::Error),
}

/// Takes what was handed over to this process, as these variables tell (sd_listen_fds(3)).
///
/// # Errors
/// Fails where they contradict themselves, and where what is none of our records is no Unix socket, or is more than one.
pub(crate) fn take<'a>(variable: impl Fn(&str) -> Option<&'a OsStr>) -> Result<Inherited, InheritedError> {
    let mut inherited = Inherited { socket: None, kept: Vec::new() };
    let text = |name: &str| variable(name).and_then(OsStr::to_str);
    let is_for_us = text("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    if is_for_us && variable("LISTEN_FDS").is_some() {
        if variable("LISTEN_FDS_FIRST_FD").is_some() {
            return Err(InheritedError::FirstDescriptor);
        }
        let names =
            names(text("LISTEN_FDS").unwrap_or_default(), text("LISTEN_FDNAMES").unwrap_or_default())?;
        let mut handed_over = ListenFd::from_env();
        for (index, name) in names.iter().enumerate() {
            inherited.take_one(&mut handed_over, index, name)?;
        }
    }
    // Programs that print tokens get none of it.
    close_fds::set_fds_cloexec(FIRST_FOREIGN_DESCRIPTOR, &[]);
    Ok(inherited)
}

/// Returns a name for each descriptor; empty ones where nothing is named.
fn names(count: &str, names: &str) -> Result<Vec<String>, InheritedError> {
    let known = count.parse().ok().filter(|count| *count <= MAX_DESCRIPTORS);
    let count: usize = known.ok_or_else(|| InheritedError::Count(count.escape_default().to_string()))?;
    if names.is_empty() {
        return Ok(vec![String::new(); count]);
    }
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if names.len() == count { Ok(names) } else { Err(InheritedError::Names { names: names.len(), count }) }
}

impl Inherited {
    fn take_one(
        &mut self,
        handed_over: &mut ListenFd,
        index: usize,
        name: &str,
    ) -> Result<(), InheritedError> {
        if !name.starts_with(PREFIX) {
            let socket = handed_over.take_unix_listener(index).map_err(InheritedError::NoSocket)?;
            return match self.socket {
                Some(_) => Err(InheritedError::Several),
                None => {
                    self.socket = socket;
                    Ok(())
                }
            };
        }
        let number = handed_over.take_raw_fd(index).map_err(InheritedError::NoSocket)?;
        match number.map(opened_anew) {
            Some(Ok(fd)) => self.kept.push((name.to_owned(), fd)),
            Some(Err(error)) => tracing::warn!(name, %error, "ignored a descriptor that was kept for us"),
            None => {}
        }
        Ok(())
    }

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
/// the daemon ends: safe code cannot take it. A process may do this with its own descriptors, dumpable or not.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_names_as_descriptors_or_none_l10() {
        assert_eq!(names("2", "api:keyfob-prod@1").unwrap(), ["api", "keyfob-prod@1"]);
        assert_eq!(names("2", "").unwrap(), ["", ""]);
        assert!(names("0", "").unwrap().is_empty());
        for (count, list) in [("1", "a:b"), ("2", "a"), ("0", "a"), ("2", "a:b:")] {
            assert!(matches!(names(count, list), Err(InheritedError::Names { .. })), "{count} {list}");
        }
    }

    #[test]
    fn a_count_that_is_none_is_refused_and_is_shown_on_one_line_l10() {
        for count in ["", "-1", "1x", "129", "99999999999999999999", "1\n2"] {
            let error = names(count, "").unwrap_err();
            assert!(matches!(error, InheritedError::Count(_)), "{count}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
