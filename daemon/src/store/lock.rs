//! One daemon for each state directory.
//!
//! The lock is on a file of its own, which we never rename or remove: a lock on a name that comes and goes locks nothing.
//! Somebody else may do so all the same, so the directory is locked as well, where the file system can. The kernel drops
//! both when the process ends, however it ends.

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
    /// Absent where directories cannot be locked, as on NFS.
    _directory: Option<File>,
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
        let itself = directory.reopened().map_err(LockError::File)?;
        let by_directory = locked(&itself);
        let mut file = directory.open_or_create(NAME).map_err(LockError::File)?;
        if by_directory == Err(Errno::WOULDBLOCK) {
            return Err(LockError::Held { pid: holder(&mut file) });
        }
        match locked(&file) {
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
        Ok(Self { _directory: by_directory.is_ok().then_some(itself), _file: file })
    }
}

fn locked(file: &File) -> Result<(), Errno> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(LONGEST_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn failed(doing: &'static str, directory: &Directory, source: std::io::Error) -> FileError {
    FileError::Io { doing, path: directory.path_of(NAME), source }
}
