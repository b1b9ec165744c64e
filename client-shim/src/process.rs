//! The end of another process, waited for without asking again and again.
//!
//! The thing to get wrong: a process id belongs to a namespace and to a time. A daemon in a container gives one that
//! may be somebody else's here, so only a process that bears the daemon's name is waited for.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::clock::Deadline;

/// A process that can be waited for.
pub(crate) struct Process(OwnedFd);

impl Process {
    /// Finds a process by its id and its name.
    pub(crate) fn find(id: u32, name: &str) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(id).ok()?)?;
        // The descriptor comes first: while it is open, the name is that of the same process.
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let comm = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        (comm.trim_end() == name).then_some(Self(descriptor))
    }

    /// Waits until the process has ended; tells whether it has.
    pub(crate) fn ends_by(&self, deadline: Deadline) -> bool {
        while let Some(left) = deadline.left() {
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}
