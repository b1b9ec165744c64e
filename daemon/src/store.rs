//! Tokens at rest: one sealed file per account, under one key. Beside it another, while a device login is pending.
//!
//! The store knows nothing of where tokens come from. Its calls block (disk, D-Bus) and belong on a blocking thread.
//! What it cannot read it never overwrites, except that damaged files make room: they are renamed. The thing to get
//! wrong: an error here says nothing about the tokens in memory, which go on working.
//!
//! On a file system that several machines share, all of this is in `hosts/ID/`, for each of them once.
//!
//! ```text
//! keyfob/                     the state directory, 0700, for one daemon at a time
//!   lock                      held while a daemon lives; its process id
//!   store.json                where the key is: chosen once
//!   key                       the key, where it is kept in a file
//!   accounts/NAME.sealed      the tokens of an account
//!   accounts/NAME.journal     a renewal of them that is under way: what it is about to do, and the answer to it
//!   accounts/NAME.login       a device login of it that waits for a person
//! ```

mod choice;
pub mod custody;
mod directory;
mod disk;
mod error;
mod host;
pub(crate) mod journal;
pub mod key;
mod key_file;
mod keyring;
mod lock;
pub(crate) mod login;
mod master_key;
pub(crate) mod record;
pub(crate) mod sealed_file;
mod shelf;
pub(crate) mod slot;
mod spill;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use keyfob_protocol::account::AccountName;
use keyfob_protocol::daemon::{KeyKind, StoreState, StoreStatus};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::Clock;
use crate::store::choice::{Decision, Recorded, Sealed, Unread};
use crate::store::custody::{Custodian, Custody};
use crate::store::disk::Disk;
use crate::store::key::{KeyChoice, KeySource};
use crate::store::lock::{Lock, LockError};
use crate::store::master_key::{MasterKey, Places, locked};
use crate::store::shelf::Shelf;
use crate::store::spill::Spill;

pub use crate::store::choice::KeyPlace;
pub use crate::store::directory::{FileError, Problem};
pub use crate::store::error::{OpenError, StoreError};
pub use crate::store::journal::{Adopted, Begun, Intent, Journal, Left, Place};
pub use crate::store::key_file::Credential;
pub use crate::store::keyring::Keyring;
pub use crate::store::login::PendingLogin;
pub use crate::store::record::Record;

/// Tokens at rest. Shared by all accounts.
#[derive(Debug)]
pub struct Store {
    rest: Rest,
    clock: Clock,
    readers: Arc<Semaphore>,
    _lock: Lock,
}

/// How many records are read at once. At a start each account reads its own: on a thread each there would be hundreds, which
/// are no faster on one disk, and stay for ten seconds with what they touched.
const READERS: usize = 8;

/// Where a store is.
#[derive(Clone, Debug)]
pub struct Location {
    /// The state directory.
    pub state: PathBuf,
    /// A directory for what the state directory does not take, where the machine has one: in memory, for this boot.
    pub spill: Option<PathBuf>,
}

impl Location {
    /// Returns a state directory without a place to spill to.
    pub fn of(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), spill: None }
    }
}

/// Where the key can come from, beside a file in the state directory.
#[derive(Debug)]
pub struct Sources {
    /// The Secret Service of the desktop.
    pub keyring: Box<dyn KeySource>,
    /// A systemd credential.
    pub credential: Box<dyn KeySource>,
}

impl Sources {
    /// Returns the sources of this machine. The path is `$CREDENTIALS_DIRECTORY/keyfob-key`, where systemd gave us such
    /// a directory.
    pub fn of_the_system(credential: Option<PathBuf>) -> Self {
        Self { keyring: Box::new(Keyring::default()), credential: Box::new(Credential::new(credential)) }
    }
}

/// Where records rest.
#[derive(Debug)]
enum Rest {
    /// Nowhere but here.
    Memory(Mutex<BTreeMap<AccountName, Record>>),
    Disk(Disk),
}

impl Store {
    /// Opens the store in a state directory, and makes it where there is none. Settles where its key is; never asks a
    /// person; takes a few seconds at the most.
    ///
    /// A keyring that does not give the key is no error here: the store is locked, and heals by itself.
    ///
    /// # Errors
    /// Fails where another daemon has the directory, where others may enter it, and where starting anyway would put
    /// stored tokens at risk.
    pub fn open(
        location: &Location,
        choice: KeyChoice,
        sources: Sources,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let state_directory = directory::Directory::open(&location.state)?;
        let state_directory = Arc::new(host::own_part(state_directory)?);
        let lock = Lock::take(&state_directory).map_err(|error| match error {
            LockError::Held { pid } => OpenError::InUse { pid, directory: location.state.clone() },
            LockError::File(error) => error.into(),
        })?;
        let shelf = Arc::new(Shelf::open(&state_directory)?);
        let spill = Spill::of(location.spill.as_deref(), state_directory.path());
        let decision = decide(choice, &state_directory, &shelf)?;
        let places = Places {
            keyring: sources.keyring,
            credential: sources.credential,
            file: key_file::KeyFile::new(Arc::clone(&state_directory)),
            state_directory,
            shelf: Arc::clone(&shelf),
        };
        let readers = Arc::new(Semaphore::new(READERS));
        let key = match decision {
            Decision::Memory => {
                return Ok(Self { rest: Rest::Memory(Mutex::default()), clock, readers, _lock: lock });
            }
            Decision::Keep(recorded) => MasterKey::keep(places, recorded, &clock)?,
            Decision::Take(place) => MasterKey::take(places, place, &clock)?,
            Decision::TakeFirst => MasterKey::take_first(places, &clock)?,
        };
        let rest = Rest::Disk(Disk { key, shelf, spill, turn: Mutex::default() });
        Ok(Self { rest, clock, readers, _lock: lock })
    }

    /// Lets somebody keep the records that no directory takes, and looks at what they have. Until then there is nobody.
    pub fn entrust_to(&mut self, custodian: Custodian) {
        match &mut self.rest {
            Rest::Memory(_) => {}
            Rest::Disk(disk) => disk.spill.custody = Custody::take_over(custodian),
        }
    }

    /// Waits until few enough others read, for as long as the permit is there. Nobody waits to write.
    pub(crate) async fn reading(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.readers).acquire_owned().await.ok()
    }

    /// Reads what rests for an account, whatever it is bound to: comparing the fingerprint is up to the caller. It may
    /// have been spilled, which the record says.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`StoreError::Corrupt`] nothing rests for the account.
    pub fn load(&self, account: &AccountName) -> Result<Option<Record>, StoreError> {
        match &self.rest {
            Rest::Memory(records) => Ok(locked(records).get(account).cloned()),
            Rest::Disk(disk) => disk.load(account, &self.clock),
        }
    }

    /// Makes a record rest for an account, in place of the one that does. When it returns, the record is on disk.
    ///
    /// The generation on disk always grows: where a later one rests than the record has, the record gets the next. What
    /// was spilled for the account is not needed any more, and is removed.
    ///
    /// # Errors
    /// See [`StoreError`]. The record that rested before still does.
    pub fn save(&self, account: &AccountName, record: &Record) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(records) => {
                locked(records).insert(account.clone(), record.clone());
                Ok(())
            }
            Rest::Disk(disk) => disk.save(account, record, &self.clock),
        }
    }

    /// Makes a record rest outside of the state directory, until that can be written or the machine is started anew.
    ///
    /// # Errors
    /// See [`StoreError`]. What rested before still does.
    pub fn spill(&self, account: &AccountName, record: &Record) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(_) => self.save(account, record),
            Rest::Disk(disk) => disk.spill(account, record, &self.clock),
        }
    }

    /// Removes what rests for an account: its tokens, and the journal of a renewal of them. Needs no key, so that logging
    /// out is always possible.
    ///
    /// # Errors
    /// Fails where a file cannot be removed, or is not ours to remove.
    pub fn delete(&self, account: &AccountName) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(records) => {
                locked(records).remove(account);
                Ok(())
            }
            Rest::Disk(disk) => disk.delete(account),
        }
    }

    /// Forgets the key: until [`Self::recall_key`] every call that needs it fails with [`StoreError::Withheld`]. Blocks.
    pub fn withhold_key(&self) {
        match &self.rest {
            Rest::Memory(_) => {}
            Rest::Disk(disk) => disk.key.withhold(),
        }
    }

    /// Fetches the key that was forgotten from where it is. Blocks for a few seconds at the most.
    ///
    /// # Errors
    /// See [`StoreError`]. The key is then as forgotten as before.
    pub fn recall_key(&self) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(()),
            Rest::Disk(disk) => disk.key.recall(),
        }
    }

    /// Waits for whoever is at work on the records, and does nothing.
    pub fn pass_through(&self) {
        match &self.rest {
            Rest::Memory(records) => drop(locked(records)),
            Rest::Disk(disk) => drop(locked(&disk.turn)),
        }
    }

    /// Returns where the key is and whether it is at hand. Waits for nothing.
    pub fn status(&self) -> StoreStatus {
        match &self.rest {
            Rest::Memory(_) => {
                let note = Some("the tokens end with the daemon".to_owned());
                StoreStatus { key: KeyKind::Memory, state: StoreState::Open, note }
            }
            Rest::Disk(disk) => disk.key.status(),
        }
    }
}

fn decide(
    choice: KeyChoice,
    state_directory: &directory::Directory,
    shelf: &Shelf,
) -> Result<Decision, OpenError> {
    let sealed = shelf.sealed()?;
    let lost = |record| OpenError::ChoiceLost { record, sealed: shelf.path().to_owned() };
    let recorded = match (Recorded::read(state_directory), sealed) {
        (Ok(None), Sealed::Something) => return Err(lost(state_directory.path_of(Recorded::NAME))),
        (Ok(recorded), _) => recorded,
        (Err(Unread::Damaged(path)), Sealed::Something) => return Err(lost(path)),
        // It guards nothing.
        (Err(Unread::Damaged(_)), Sealed::Nothing) => None,
        (Err(Unread::NewerFormat(path)), _) => return Err(OpenError::NewerFormat { path }),
        (Err(Unread::File(error)), _) => return Err(error.into()),
    };
    choice::decide(choice, recorded, sealed).map_err(|contradiction| OpenError::OtherChoice {
        recorded: contradiction.recorded,
        sealed: shelf.path().to_owned(),
    })
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod power_loss;
#[cfg(test)]
mod sim_fs;
#[cfg(test)]
mod tests;
