//! The sealed files: one for the tokens of each account, one for a login of it that is pending, and the journal of a
//! renewal that is under way.
//!
//! The thing to get wrong: only tokens are worth refusing to start for. A login that is lost is begun again.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::store::choice::Sealed;
use crate::store::directory::{Content, Directory, FileError, OpenFile};
use crate::store::slot::{Slot, TOKENS_SUFFIX};

/// The directory of the sealed files.
#[derive(Debug)]
pub(crate) struct Shelf {
    directory: Directory,
}

impl Shelf {
    /// The most that a sealed file may have. An answer of an issuer has 1 MiB at the most, the refresh token of an
    /// earlier one may have to be kept beside it, and there is room for the rest.
    pub(crate) const LONGEST_FILE: usize = (2 * 1024 + 64) * 1024;

    /// Opens the shelf in a state directory; makes it where there is none.
    pub(crate) fn open(state: &Directory) -> Result<Self, FileError> {
        Ok(Self { directory: state.subdirectory("accounts")? })
    }

    /// Returns the shelf that a directory is.
    pub(crate) fn of(directory: Directory) -> Self {
        Self { directory }
    }

    /// Tells whether tokens are sealed here. A pending login does not count.
    pub(crate) fn sealed(&self) -> Result<Sealed, FileError> {
        let any = self.directory.names()?.iter().any(|name| name.ends_with(TOKENS_SUFFIX));
        Ok(if any { Sealed::Something } else { Sealed::Nothing })
    }

    /// Reads a file. What is longer than any of ours is cut short, and then does not open.
    pub(crate) fn read(&self, slot: Slot<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        self.directory.read(&slot.to_string(), Self::LONGEST_FILE)
    }

    /// Puts a file in place, whole or not at all.
    pub(crate) fn replace(&self, slot: Slot<'_>, content: Content<'_>) -> Result<(), FileError> {
        self.directory.replace(&slot.to_string(), content)
    }

    /// Makes an empty file beside the one of a slot.
    pub(crate) fn draft(&self, slot: Slot<'_>) -> Result<OpenFile, FileError> {
        self.directory.draft(&slot.to_string())
    }

    /// Puts the draft of a slot in its place.
    pub(crate) fn put_in_place(&self, slot: Slot<'_>) -> Result<(), FileError> {
        self.directory.put_in_place(&slot.to_string())
    }

    /// Removes a draft that came to nothing.
    pub(crate) fn discard_draft(&self, slot: Slot<'_>) {
        self.directory.discard_draft(&slot.to_string());
    }

    /// Renames a file, so that nothing reads it and nothing overwrites it. Returns its new path.
    pub(crate) fn set_aside(&self, slot: Slot<'_>, now: Timestamp) -> Result<PathBuf, FileError> {
        self.directory.set_aside(&slot.to_string(), &suffix(now))
    }

    /// Writes bytes to where [`Self::set_aside`] would put a file. Returns the path.
    pub(crate) fn keep_aside(
        &self,
        slot: Slot<'_>,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<PathBuf, FileError> {
        self.directory.keep_aside(&slot.to_string(), &suffix(now), bytes)
    }

    /// Removes a file.
    pub(crate) fn scrub(&self, slot: Slot<'_>) -> Result<(), FileError> {
        self.directory.scrub(&slot.to_string())
    }

    /// Returns the path of a file, for people.
    pub(crate) fn path_of(&self, slot: Slot<'_>) -> PathBuf {
        self.directory.path_of(&slot.to_string())
    }

    /// Returns the path of the shelf, for people.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn suffix(now: Timestamp) -> String {
    now.strftime("corrupt-%Y%m%dT%H%M%SZ").to_string()
}
