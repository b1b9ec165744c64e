//! Where tokens and journals go while the state directory cannot be written: full, read-only or broken.
//!
//! The runtime directory is in memory and ends with the machine's boot, so this is no store but a refuge: whatever the
//! state directory has of the same generation or a later one is better. It is opened anew at each use, since it comes and
//! goes with the sessions of its user. Where not even that takes a record, whoever keeps descriptors for us may. The
//! thing to get wrong: daemons with other state directories have the same runtime directory, so each has a part of its
//! own, named after its state directory.

use std::path::{Path, PathBuf};

use keyfob_protocol::account::AccountName;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::store::StoreError;
use crate::store::custody::{Custodian, Custody};
use crate::store::directory::{Content, Directory, FileError};
use crate::store::shelf::Shelf;
use crate::store::slot::Slot;
use crate::token::digest::hex;

/// The places, in the order in which they are tried.
#[derive(Debug)]
pub(crate) struct Spill {
    /// A directory in the runtime directory, where there is one.
    runtime: Option<PathBuf>,
    /// Who keeps records that not even that takes.
    pub(crate) custody: Custody,
}

/// A sealed file that lies in the runtime directory.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) sealed: Zeroizing<Vec<u8>>,
    /// For people.
    pub(crate) path: PathBuf,
    /// Where it lies.
    pub(crate) shelf: Shelf,
}

impl Spill {
    /// Returns the places of a store: a directory, if there is one, for a state directory. Nobody keeps anything yet.
    pub(crate) fn of(spill: Option<&Path>, state: &Path) -> Self {
        let custody = Custody::take_over(Custodian::nobody());
        Self { runtime: spill.map(|spill| spill.join(name_of(state))), custody }
    }

    /// Returns the copy of a sealed file in the runtime directory. One that cannot be read has none.
    pub(crate) fn copy(&self, slot: Slot<'_>) -> Option<Copy> {
        match self.in_runtime(slot) {
            Ok(copy) => copy,
            Err(error) => {
                tracing::warn!(account = %slot.account, %error, "what may be there cannot be read");
                None
            }
        }
    }

    /// Puts a sealed record into the first place that takes it.
    pub(crate) fn keep(
        &self,
        account: &AccountName,
        generation: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let kept = self.shelf().and_then(|shelf| {
            let slot = Slot::tokens(account);
            Ok(shelf.replace(slot, Content::Tokens(sealed))?)
        });
        match kept {
            Ok(()) => self.custody.release(account),
            Err(error) => self.custody.keep(account, generation, sealed).map_err(|unkept| {
                tracing::debug!(%account, %unkept, "nor does anybody keep it for us");
                error
            })?,
        }
        Ok(())
    }

    /// Removes every copy of a file.
    pub(crate) fn scrub(&self, slot: Slot<'_>) -> Result<(), FileError> {
        if slot.is_tokens() {
            self.custody.release(slot.account);
        }
        self.existing_shelf()?.map_or(Ok(()), |shelf| shelf.scrub(slot))
    }

    /// Returns where a journal can be kept.
    pub(crate) fn shelf(&self) -> Result<Shelf, StoreError> {
        let path = self.runtime.as_ref().ok_or(StoreError::NoSpill)?;
        Ok(Shelf::of(Directory::open(path)?))
    }

    fn in_runtime(&self, slot: Slot<'_>) -> Result<Option<Copy>, FileError> {
        let Some(shelf) = self.existing_shelf()? else { return Ok(None) };
        let sealed = shelf.read(slot)?;
        Ok(sealed.map(|sealed| Copy { sealed, path: shelf.path_of(slot), shelf }))
    }

    fn existing_shelf(&self) -> Result<Option<Shelf>, FileError> {
        let Some(path) = &self.runtime else { return Ok(None) };
        Ok(Directory::open_existing(path)?.map(Shelf::of))
    }
}

/// Returns a name that no other state directory has.
fn name_of(state: &Path) -> String {
    let state = std::fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    let hash = Sha256::digest(state.as_os_str().as_encoded_bytes());
    hex(&hash[..8])
}
