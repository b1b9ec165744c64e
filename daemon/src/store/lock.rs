//! One daemon for each state directory.
//!
//! The lock is on a file of its own, which is never renamed or removed: a lock on a name that comes and goes locks
//! nothing. The kernel drops it when the process ends, however it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::store::directory::{Directory, FileError};

/// The lock's file.
const NAME: &str = "lock";

/// Enough for any process id.
const LONGEST_PID: u64 = 20;

/// The exclusive right to a state directory, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock was not to be had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it.
    Held {
        /// Which one, if it says so.
        pid: Option<u32>,
    },
    /// Its file could not be used.
    File(FileError),
}

impl Lock {
    /// Takes the lock, or fails at once.
    pub(crate) fn take(directory: &Directory) -> Result<Self, LockError> {
        let mut file = directory.open_or_create(NAME).map_err(LockError::File)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { pid: holder(&mut file) }),
            Err(errno) => return Err(LockError::File(failed("lock", directory, errno.into()))),
        }
        // For people, and for the message above. Nothing depends on it, and a full disk is no reason not to start.
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", process::id()));
        if let Err(error) = written {
            tracing::debug!(%error, "the lock does not say who has it");
        }
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(LONGEST_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn failed(doing: &'static str, directory: &Directory, source: std::io::Error) -> FileError {
    FileError::Io { doing, path: directory.path_of(NAME), source }
}
