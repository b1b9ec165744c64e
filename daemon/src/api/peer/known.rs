//! The processes that connected in this moment: one that connects for each request is looked at once, and not each time.
//!
//! The thing to get wrong: a pid is another process's one day, and a process may run another program from now on. So one is
//! known only as long as it lives, and forgotten soon; and a policy looks for itself.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Credentials, Peer, Process};

/// Processes that are known at most: each takes a descriptor. Few programs connect again and again at the same time.
pub(in crate::api) const MAX_KNOWN: usize = 24;

/// Processes, by pid.
#[derive(Debug, Default)]
pub(in crate::api) struct Known(HashMap<i32, Arc<Process>>);

impl Known {
    /// Returns who connected: a process that is known, or one that is known from now on, if fewer than so many are.
    ///
    /// Connections come in the order in which they were made. So one of an earlier process with this pid came before that
    /// which made this process known, and as long as that lives no other has its pid.
    pub(in crate::api) fn peer(&mut self, stream: &impl AsFd, from: Credentials, room: usize) -> Peer {
        let Credentials { uid, pid } = from;
        let known = pid.and_then(|pid| self.0.get(&pid)).filter(|process| process.lives());
        if let Some(process) = known {
            return Peer { uid, pid, process: Arc::clone(process) };
        }
        let process = Arc::new(Process::hold(stream, pid));
        if let Some(pid) = pid
            && (self.0.len() < room.min(MAX_KNOWN) || self.0.contains_key(&pid))
        {
            self.0.insert(pid, Arc::clone(&process));
        }
        Peer { uid, pid, process }
    }

    /// Forgets all. Those that are connected keep what is known of them.
    pub(in crate::api) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command};

    use super::*;

    fn from(pid: u32) -> Credentials {
        Credentials { uid: 1000, pid: Some(i32::try_from(pid).unwrap()) }
    }

    fn process() -> Child {
        Command::new("/bin/sleep").arg("60").spawn().unwrap()
    }

    fn end(mut process: Child) {
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn a_process_that_connects_again_is_the_one_that_is_known_until_it_is_forgotten() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let (mut known, own) = (Known::default(), std::process::id());
        let first = known.peer(&stream, from(own), MAX_KNOWN);
        assert!(Arc::ptr_eq(&first.process, &known.peer(&stream, from(own), MAX_KNOWN).process));
        known.forget();
        assert!(!Arc::ptr_eq(&first.process, &known.peer(&stream, from(own), MAX_KNOWN).process));
    }

    #[test]
    fn a_pid_whose_process_has_ended_is_another_process() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let (mut known, process) = (Known::default(), process());
        let pid = rustix::process::Pid::from_child(&process);
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let held = Arc::new(Process { handle: Some(handle), ..Process::default() });
        let caller = from(process.id());
        known.0.insert(caller.pid.unwrap(), Arc::clone(&held));
        assert!(Arc::ptr_eq(&held, &known.peer(&stream, caller, 0).process));
        end(process);
        assert!(!Arc::ptr_eq(&held, &known.peer(&stream, caller, 0).process));
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let mut known = Known::default();
        for pid in 1..100 {
            known.peer(&stream, from(pid), 3);
        }
        assert_eq!(known.0.len(), 3);
        for pid in 1..100 {
            known.peer(&stream, from(pid), usize::MAX);
        }
        assert_eq!(known.0.len(), MAX_KNOWN);
        let nobody = Credentials { uid: 1000, pid: None };
        known.forget();
        known.peer(&stream, nobody, MAX_KNOWN);
        assert!(known.0.is_empty());
    }
}
