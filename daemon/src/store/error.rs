//! How the store can fail: at start, where the daemon does not start ([`OpenError`]), and in use ([`StoreError`]).
//!
//! Both are sorted by what helps. A locked store helps itself: the next call tries again.

use std::io;
use std::path::PathBuf;

use crate::store::choice::KeyPlace;
use crate::store::directory::FileError;
use crate::store::key::{KeyError, NoRandomness};
use crate::token::failure::told;

/// Why there is no store, so that the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the state directory.
    #[error(
        "another process has locked {0}{1}: if it is a keyfobd, stop it with 'keyfob stop'; 'fuser {0}/lock' says which it is",
        directory.display(),
        pid.map(|pid| format!(", and the last keyfobd there was process {pid}")).unwrap_or_default()
    )]
    InUse {
        /// Which process, if it says so.
        pid: Option<u32>,
        /// The state directory.
        directory: PathBuf,
    },
    /// What is configured is not what was chosen.
    #[error(
        "[store] key does not say \"{}\", but the key to the tokens in {} is in {recorded}: \
         set key = \"{}\" (or \"auto\"), or remove that directory and log in again",
        recorded.setting(), sealed.display(), recorded.setting()
    )]
    OtherChoice {
        /// What was chosen.
        recorded: KeyPlace,
        /// Where the sealed files are.
        sealed: PathBuf,
    },
    /// The record of the choice is missing or damaged, but tokens are sealed.
    #[error(
        "{} is missing or damaged, so the key to the tokens in {} cannot be found: put it back, \
         or remove that directory and log in again",
        record.display(), sealed.display()
    )]
    ChoiceLost {
        /// The record.
        record: PathBuf,
        /// Where the sealed files are.
        sealed: PathBuf,
    },
    /// The key is not the one that tokens are sealed with, or is gone.
    #[error(
        "{place} does not have the key to the tokens in {}: put the key back, or remove that directory and log in again",
        sealed.display()
    )]
    WrongKey {
        /// Where the sealed files are.
        sealed: PathBuf,
        /// Where the key should be.
        place: KeyPlace,
    },
    /// Its place does not give the key.
    #[error("cannot read the store's key from {place}")]
    Key {
        /// The place.
        place: KeyPlace,
        /// Why.
        source: KeyError,
    },
    /// A later version wrote the store.
    #[error("{} was written by a later version of keyfob: install that version", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There are no random numbers to make a key of.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Why a record could not be read or written, by remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key cannot be read yet. The next call tries again.
    #[error("the store is locked: {hint}")]
    Locked {
        /// What to do.
        hint: String,
    },
    /// The key was forgotten on purpose. Nothing asks for it until keyfob is unlocked.
    #[error("keyfob is locked")]
    Withheld,
    /// The key is not the one that was sealed with, or is gone.
    #[error(
        "{} was sealed with a key that {place} does not have: put the key back, or log out with 'keyfob logout' and \
         log in again",
        sealed.display()
    )]
    WrongKey {
        /// The sealed file, or the directory of them.
        sealed: PathBuf,
        /// Where the key should be.
        place: KeyPlace,
    },
    /// A later version wrote the file.
    #[error("{} was written by a later version of keyfob: install that version", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file was damaged. It does not stand in the way any more.
    #[error("the tokens on disk were damaged: log in again (what is left of them is in {})", aside.display())]
    Corrupt {
        /// Where it is now.
        aside: PathBuf,
    },
    /// The journal of a renewal was damaged: the refresh token may have been presented, and nobody knows what became of
    /// that. It does not stand in the way any more.
    #[error(
        "what a renewal wrote down was damaged, so the login may have to be made again (what is left of it is in {})",
        aside.display()
    )]
    DamagedJournal {
        /// Where it is now.
        aside: PathBuf,
    },
    /// The state directory cannot be written, and there is no other place for tokens.
    #[error("there is no runtime directory to keep tokens in: set XDG_RUNTIME_DIR")]
    NoSpill,
    /// The record has more bytes than a sealed file may have.
    #[error("tokens of {bytes} bytes are too large to be stored")]
    TooLarge {
        /// Their size when sealed.
        bytes: usize,
    },
    /// A file or directory cannot be used: its mode, the disk's space, the mount.
    #[error(transparent)]
    File(#[from] FileError),
    /// There are no random numbers to seal with.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Nothing failed now: an earlier daemon could not write here, and kept the tokens in another place.
    #[error("the tokens rest outside of the state directory, which could not be written")]
    Spilled,
    /// The call ended abnormally: a bug, which the log tells more about.
    #[error("a call of the store ended abnormally: see the daemon's log")]
    Abandoned,
}

impl StoreError {
    /// Says what is wrong, with what a person can do about it first where the disk is in the way.
    pub fn with_remedy(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{remedy} ({})", told(self)),
            None => told(self),
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        let Self::File(FileError::Io { source, .. }) = self else { return None };
        let kind = source.kind();
        REMEDIES.iter().find(|(known, _)| *known == kind).map(|(_, remedy)| *remedy)
    }
}

/// What a person can do about a disk that is in the way.
const REMEDIES: [(io::ErrorKind, &str); 4] = [
    (io::ErrorKind::StorageFull, "the disk is full: make room on it"),
    (io::ErrorKind::QuotaExceeded, "the disk quota is used up: make room within it"),
    (io::ErrorKind::ReadOnlyFilesystem, "the disk is read-only: mount it for writing"),
    (io::ErrorKind::FileTooLarge, "files may not grow any more: raise the limit on file sizes"),
];

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_disk_that_is_in_the_way_says_what_to_do_first() {
        let said = |errno: Errno| {
            let path = PathBuf::from("/state/prod.sealed");
            let source = io::Error::from(errno);
            StoreError::File(FileError::Io { doing: "write", path, source }).with_remedy()
        };
        assert!(
            said(Errno::NOSPC)
                .starts_with("the disk is full: make room on it (cannot write /state/prod.sealed")
        );
        assert!(said(Errno::DQUOT).starts_with("the disk quota is used up"));
        assert!(said(Errno::ROFS).starts_with("the disk is read-only"));
        assert!(said(Errno::FBIG).starts_with("files may not grow"));
        assert!(said(Errno::IO).starts_with("cannot write /state/prod.sealed"));
    }
}
