//! Records on disk: in the state directory, or spilled while that cannot be written.
//!
//! Where both have one the later generation is the truth, and the other is removed. The thing to get wrong: what is
//! decided about a file must be decided within one turn, or somebody else replaces it meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use keyfob_protocol::account::AccountName;

use crate::clock::Clock;
use crate::store::directory::{Content, FileError};
use crate::store::journal::Place;
use crate::store::key::Key;
use crate::store::master_key::{MasterKey, locked};
use crate::store::sealed_file::{Opened, Refusal};
use crate::store::shelf::Shelf;
use crate::store::slot::Slot;
use crate::store::spill::Spill;
use crate::store::{Record, StoreError, sealed_file};

/// The sealed files, and the key to them.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) key: MasterKey,
    pub(super) shelf: Arc<Shelf>,
    pub(super) spill: Spill,
    /// One call at a time: what one reads, another must not replace before the first has decided about it.
    pub(super) turn: Mutex<()>,
}

/// What a sealed file turns out to be.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it lives for a few lines")]
pub(super) enum Resting {
    Nothing,
    Record(Record),
    Damaged,
}

impl Disk {
    pub(super) fn load(&self, account: &AccountName, clock: &Clock) -> Result<Option<Record>, StoreError> {
        let key = self.key.get(clock)?;
        let _turn = locked(&self.turn);
        match self.resting(account, &key, clock)? {
            Resting::Nothing => Ok(None),
            Resting::Record(record) => Ok(Some(record)),
            Resting::Damaged => Err(StoreError::Corrupt { aside: self.set_aside(account, clock)? }),
        }
    }

    pub(super) fn save(
        &self,
        account: &AccountName,
        record: &Record,
        clock: &Clock,
    ) -> Result<(), StoreError> {
        let key = self.key.get(clock)?;
        let slot = Slot::tokens(account);
        let _turn = locked(&self.turn);
        let generation = match self.resting(account, &key, clock)? {
            Resting::Nothing => record.generation,
            Resting::Record(resting) => next(record, &resting),
            Resting::Damaged => {
                let aside = self.set_aside(account, clock)?;
                tracing::warn!(%account, aside = %aside.display(), "the tokens on disk were damaged");
                record.generation
            }
        };
        let sealed = sealed(&key, account, generation, record, clock)?;
        self.shelf.replace(slot, Content::Tokens(&sealed))?;
        if self.shelf.read(slot)?.is_none_or(|written| *written != sealed) {
            return Err(self.changed(slot).into());
        }
        self.forget_spilled(slot);
        Ok(())
    }

    pub(super) fn spill(
        &self,
        account: &AccountName,
        record: &Record,
        clock: &Clock,
    ) -> Result<(), StoreError> {
        let key = self.key.get(clock)?;
        let _turn = locked(&self.turn);
        let generation = match self.resting_anyhow(account, &key, clock)? {
            Resting::Nothing | Resting::Damaged => record.generation,
            Resting::Record(resting) => next(record, &resting),
        };
        let sealed = sealed(&key, account, generation, record, clock)?;
        self.spill.keep(account, generation, &sealed)
    }

    /// Removes all that rests for an account. The tokens go last: without them the rest means nothing to anybody.
    pub(super) fn delete(&self, account: &AccountName) -> Result<(), StoreError> {
        let _turn = locked(&self.turn);
        for slot in [Slot::tokens(account), Slot::intent(account)] {
            self.spill.scrub(slot)?;
        }
        self.shelf.scrub(Slot::intent(account))?;
        Ok(self.shelf.scrub(Slot::tokens(account))?)
    }

    /// Reads what rests for an account.
    pub(super) fn resting(
        &self,
        account: &AccountName,
        key: &Key,
        clock: &Clock,
    ) -> Result<Resting, StoreError> {
        let state = self.in_state(account, key, clock)?;
        self.newest(state, account, key, clock)
    }

    /// Reads what rests for an account, where a state directory that cannot be read is no obstacle: it is about to be
    /// done without.
    pub(super) fn resting_anyhow(
        &self,
        account: &AccountName,
        key: &Key,
        clock: &Clock,
    ) -> Result<Resting, StoreError> {
        let state = match self.in_state(account, key, clock) {
            Err(StoreError::File(error @ FileError::Io { .. })) => {
                tracing::warn!(%account, %error, "the tokens on disk cannot be read");
                Resting::Nothing
            }
            read => read?,
        };
        self.newest(state, account, key, clock)
    }

    fn newest(
        &self,
        state: Resting,
        account: &AccountName,
        key: &Key,
        clock: &Clock,
    ) -> Result<Resting, StoreError> {
        let Some(spilled) = self.spilled(account, key, clock)? else { return Ok(state) };
        match state {
            Resting::Record(state) if state.generation >= spilled.generation => {
                self.forget_spilled(Slot::tokens(account));
                return Ok(Resting::Record(state));
            }
            Resting::Damaged => match self.set_aside(account, clock) {
                Ok(aside) => {
                    tracing::warn!(%account, aside = %aside.display(), "the tokens on disk were damaged");
                }
                Err(error) => tracing::warn!(%account, %error, "the tokens on disk are damaged"),
            },
            Resting::Record(_) | Resting::Nothing => {}
        }
        Ok(Resting::Record(spilled))
    }

    fn in_state(&self, account: &AccountName, key: &Key, clock: &Clock) -> Result<Resting, StoreError> {
        let slot = Slot::tokens(account);
        let Some(sealed) = self.shelf.read(slot)? else { return Ok(Resting::Nothing) };
        match opened(key, account, &sealed, clock) {
            Ok(record) => Ok(Resting::Record(record)),
            Err(Refusal::Corrupt) => Ok(Resting::Damaged),
            Err(Refusal::NewerFormat) => Err(StoreError::NewerFormat { path: self.shelf.path_of(slot) }),
            Err(Refusal::WrongKey) => Err(self.wrong_key(slot)),
        }
    }

    /// Reads what was spilled for an account. What does not open is set aside: it is damaged, or of a store that is gone.
    fn spilled(&self, account: &AccountName, key: &Key, clock: &Clock) -> Result<Option<Record>, StoreError> {
        let slot = Slot::tokens(account);
        let mut newest: Option<Record> = None;
        let mut note = |record: Record| {
            if newest.as_ref().is_none_or(|newest| newest.generation < record.generation) {
                newest = Some(Record { place: Place::Spill, ..record });
            }
        };
        if let Some(copy) = self.spill.copy(slot) {
            match opened(key, account, &copy.sealed, clock) {
                Ok(record) => note(record),
                Err(Refusal::NewerFormat) => return Err(StoreError::NewerFormat { path: copy.path }),
                Err(Refusal::Corrupt | Refusal::WrongKey) => {
                    let aside = copy.shelf.set_aside(slot, clock.now().wall);
                    tracing::warn!(%account, path = %copy.path.display(), ?aside, "the tokens there do not open");
                }
            }
        }
        for (name, sealed) in self.spill.custody.sealed(account) {
            match opened(key, account, &sealed, clock) {
                Ok(record) => note(record),
                Err(Refusal::NewerFormat) => return Err(StoreError::NewerFormat { path: name.into() }),
                Err(Refusal::Corrupt | Refusal::WrongKey) => {
                    self.spill.custody.ignore(account, &name);
                    tracing::warn!(%account, name, "the tokens that were kept for us do not open");
                }
            }
        }
        Ok(newest)
    }

    pub(super) fn wrong_key(&self, slot: Slot<'_>) -> StoreError {
        StoreError::WrongKey { sealed: self.shelf.path_of(slot), place: self.key.place() }
    }

    /// Removes what was spilled and is not needed any more. Where that fails it is stale, and harms nobody.
    pub(super) fn forget_spilled(&self, slot: Slot<'_>) {
        if let Err(error) = self.spill.scrub(slot) {
            tracing::warn!(account = %slot.account, %error, "what was spilled stays behind");
        }
    }

    fn changed(&self, slot: Slot<'_>) -> FileError {
        let source = std::io::Error::other("it is not what was written");
        FileError::Io { doing: "read back", path: self.shelf.path_of(slot), source }
    }

    fn set_aside(&self, account: &AccountName, clock: &Clock) -> Result<PathBuf, FileError> {
        self.shelf.set_aside(Slot::tokens(account), clock.now().wall)
    }
}

/// Returns the generation that a record gets where another rests already.
fn next(record: &Record, resting: &Record) -> u64 {
    record.generation.max(resting.generation.saturating_add(1))
}

fn opened(key: &Key, account: &AccountName, sealed: &[u8], clock: &Clock) -> Result<Record, Refusal> {
    let Opened { generation, plaintext } = sealed_file::open(key, Slot::tokens(account), sealed)?;
    Record::from_json(generation, &plaintext, clock).map_err(|_| Refusal::Corrupt)
}

fn sealed(
    key: &Key,
    account: &AccountName,
    generation: u64,
    record: &Record,
    clock: &Clock,
) -> Result<Vec<u8>, StoreError> {
    let json = record.to_json(clock);
    let bytes = json.len() + sealed_file::OVERHEAD;
    if bytes > Shelf::LONGEST_FILE {
        return Err(StoreError::TooLarge { bytes });
    }
    Ok(sealed_file::seal(key, Slot::tokens(account), generation, json)?)
}
