//! The sealed files, one for each account.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keyfob_protocol::account::AccountName;
use zeroize::Zeroizing;

use crate::store::choice::Sealed;
use crate::store::directory::{Directory, FileError};

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

    /// Tells whether tokens are sealed here.
    pub(crate) fn sealed(&self) -> Result<Sealed, FileError> {
        let any = self.directory.names()?.iter().any(|name| name.ends_with(SUFFIX));
        Ok(if any { Sealed::Something } else { Sealed::Nothing })
    }

    /// Reads an account's file. What is longer than any of ours is cut short, and then does not open.
    pub(crate) fn read(&self, account: &AccountName) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        self.directory.read(&name(account), Self::LONGEST_FILE)
    }

    /// Puts an account's file in place, whole or not at all.
    pub(crate) fn replace(&self, account: &AccountName, sealed: &[u8]) -> Result<(), FileError> {
        self.directory.replace(&name(account), sealed)
    }

    /// Renames an account's file, so that nothing reads it and nothing overwrites it. Returns its new path.
    pub(crate) fn set_aside(&self, account: &AccountName, now: Timestamp) -> Result<PathBuf, FileError> {
        self.directory.set_aside(&name(account), &now.strftime("corrupt-%Y%m%dT%H%M%SZ").to_string())
    }

    /// Removes an account's file.
    pub(crate) fn scrub(&self, account: &AccountName) -> Result<(), FileError> {
        self.directory.scrub(&name(account))
    }

    /// Returns the path of an account's file, for people.
    pub(crate) fn path_of(&self, account: &AccountName) -> PathBuf {
        self.directory.path_of(&name(account))
    }

    /// Returns the path of the shelf, for people.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

const SUFFIX: &str = ".sealed";

fn name(account: &AccountName) -> String {
    format!("{account}{SUFFIX}")
}
