//! A mark that all descendants of a program carry, so that they are found when the program is ended.
//!
//! A process group is not enough: whoever forks twice and makes a session of its own leaves it. The mark is a variable, which
//! children inherit. The thing to get wrong: a process id may be another's by the time that a signal is sent, so the
//! process is held before it is looked at.

use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable. Its value is random, and of one run of one program.
pub(super) const NAME: &str = "KEYFOB_RUN";

/// How often those are looked for that were forked while we looked: more than a program can outrun that is dying already.
const ROUNDS: usize = 16;

/// A mark.
#[derive(Debug)]
pub(super) struct Mark(String);

impl Mark {
    /// Makes one that nobody has.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Self(format!("{:016x}", u64::from_ne_bytes(random))))
    }

    /// Returns the value of the variable.
    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Ends whoever carries it.
    pub(super) fn end_all(&self) {
        let line = format!("{NAME}={}", self.0);
        let found = |pid: Pid| -> Option<()> {
            let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
            environment.split(|byte| *byte == 0).find(|entry| *entry == line.as_bytes())?;
            pidfd_send_signal(held, Signal::KILL).ok()
        };
        for _ in 0..ROUNDS {
            if processes().filter_map(found).count() == 0 {
                return;
            }
        }
        tracing::warn!("a program left more processes behind than could be ended");
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}
