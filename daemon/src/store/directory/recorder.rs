//! A record of what is done to the disk, in order: for the tests of what a power loss leaves behind, and in tests alone.
//!
//! Every change that the directories of the store make is noted where it is made, after it was. A change that is not noted
//! would be missing from every crash state, so the tests compare what a replay of the whole record gives with the disk.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

thread_local! {
    static RECORD: RefCell<Option<Vec<Change>>> = const { RefCell::new(None) };
}

/// Which file it is, whatever it is called.
pub(crate) type Inode = u64;

/// One change to the disk, or one wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Create {
        directory: PathBuf,
        name: String,
        file: Inode,
    },
    Write {
        file: Inode,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// The file has at least this length, and zeros where nothing was written.
    Reserve {
        file: Inode,
        length: u64,
    },
    SyncFile {
        file: Inode,
    },
    Rename {
        directory: PathBuf,
        from: String,
        to: String,
    },
    Remove {
        directory: PathBuf,
        name: String,
    },
    SyncDirectory {
        directory: PathBuf,
    },
}

/// Records what this thread does to the disk.
pub(crate) fn start() {
    RECORD.set(Some(Vec::new()));
}

/// Ends that, and returns the record.
pub(crate) fn stop() -> Vec<Change> {
    RECORD.take().unwrap_or_default()
}

/// Returns how long the record is.
pub(crate) fn position() -> usize {
    RECORD.with_borrow(|record| record.as_ref().map_or(0, Vec::len))
}

/// Notes a change.
pub(super) fn note(change: impl FnOnce() -> Change) {
    RECORD.with_borrow_mut(|record| {
        if let Some(record) = record {
            record.push(change());
        }
    });
}

/// Returns which file is open.
pub(super) fn inode(file: impl AsFd) -> Inode {
    rustix::fs::fstat(file).unwrap().st_ino
}

/// Notes a change to the names in a directory.
pub(super) fn note_in(directory: &Path, change: impl FnOnce(PathBuf) -> Change) {
    note(|| change(directory.to_owned()));
}
