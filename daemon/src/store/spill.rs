//! Where tokens and journals go while the state directory cannot be written: full, read-only or broken.
//!
//! The runtime directory is in memory and ends with the machine's boot, so this is no store but a refuge: whatever the
//! state directory has of the same generation or a later one is better. It is opened anew at each use, since it comes and
//! goes with the sessions of its user. The thing to get wrong: daemons with other state directories have the same
//! runtime directory, so each has a part of its own, named after its state directory.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::store::StoreError;
use crate::store::directory::{Content, Directory, FileError};
use crate::store::shelf::Shelf;
use crate::store::slot::Slot;

/// The places, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Spill {
    refuges: Vec<Refuge>,
}

/// One place outside of the state directory.
#[derive(Debug)]
enum Refuge {
    /// A directory in the runtime directory.
    Runtime(PathBuf),
}

/// A sealed file that lies in one of the places.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) sealed: Zeroizing<Vec<u8>>,
    /// For people.
    pub(crate) path: PathBuf,
    /// Where it lies.
    pub(crate) shelf: Shelf,
}

impl Spill {
    /// Returns the places of a store: in a directory, if there is one, for a state directory.
    pub(crate) fn of(spill: Option<&Path>, state: &Path) -> Self {
        let own = |spill: &Path| Refuge::Runtime(spill.join(name_of(state)));
        Self { refuges: spill.map(own).into_iter().collect() }
    }

    /// Returns every copy of a sealed file. A place that cannot be read has none.
    pub(crate) fn copies(&self, slot: Slot<'_>) -> Vec<Copy> {
        let copies = self.refuges.iter().filter_map(|refuge| match refuge.read(slot) {
            Ok(copy) => copy,
            Err(error) => {
                tracing::warn!(account = %slot.account, %error, "what may be there cannot be read");
                None
            }
        });
        copies.collect()
    }

    /// Puts a sealed file into the first place that takes it.
    pub(crate) fn replace(&self, slot: Slot<'_>, content: Content<'_>) -> Result<(), StoreError> {
        let mut failed = StoreError::NoSpill;
        for refuge in &self.refuges {
            match refuge.replace(slot, content) {
                Ok(()) => return Ok(()),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    /// Removes every copy of a file.
    pub(crate) fn scrub(&self, slot: Slot<'_>) -> Result<(), FileError> {
        self.refuges.iter().map(|refuge| refuge.scrub(slot)).fold(Ok(()), Result::and)
    }

    /// Returns the first place where a journal can be kept.
    pub(crate) fn shelf(&self) -> Result<Shelf, StoreError> {
        let mut failed = StoreError::NoSpill;
        for refuge in &self.refuges {
            match refuge.shelf() {
                Ok(shelf) => return Ok(shelf),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

impl Refuge {
    fn read(&self, slot: Slot<'_>) -> Result<Option<Copy>, FileError> {
        let Some(shelf) = self.existing_shelf()? else { return Ok(None) };
        let sealed = shelf.read(slot)?;
        Ok(sealed.map(|sealed| Copy { sealed, path: shelf.path_of(slot), shelf }))
    }

    fn replace(&self, slot: Slot<'_>, content: Content<'_>) -> Result<(), FileError> {
        self.shelf()?.replace(slot, content)
    }

    fn scrub(&self, slot: Slot<'_>) -> Result<(), FileError> {
        self.existing_shelf()?.map_or(Ok(()), |shelf| shelf.scrub(slot))
    }

    fn shelf(&self) -> Result<Shelf, FileError> {
        match self {
            Self::Runtime(path) => Directory::open(path).map(Shelf::of),
        }
    }

    fn existing_shelf(&self) -> Result<Option<Shelf>, FileError> {
        match self {
            Self::Runtime(path) => Ok(Directory::open_existing(path)?.map(Shelf::of)),
        }
    }
}

/// Returns a name that no other state directory has.
fn name_of(state: &Path) -> String {
    let state = std::fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let hash = Sha256::digest(state.as_os_str().as_encoded_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
