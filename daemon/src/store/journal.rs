//! The journal of a renewal: what it is about to do with which refresh token, and then the answer to it, as it came.
//!
//! The first is on disk before a byte is sent, and the second before anybody reads it; whoever comes after a crash knows
//! from the one that the token may have been spent, and finds in the other what it was spent for. The room is taken
//! before, so that an answer cannot meet a full disk. The thing to get wrong is to take a journal away while it is all
//! that is known.
//!
//! ```text
//! length   4   big endian
//! frame    n   sealed: the intent
//! length   4   big endian; 0 while there is no answer
//! frame    n   sealed: the answer
//! zeros        the room that was taken
//! ```

pub(crate) mod form;
pub(crate) mod reader;

use std::sync::Arc;

use keyfob_protocol::account::AccountName;
use zeroize::Zeroizing;

use crate::account::Fingerprint;
use crate::clock::Clock;
use crate::failpoint::{self, Point};
use crate::store::directory::{FileError, OpenFile};
use crate::store::disk::{Disk, Resting};
use crate::store::journal::reader::Reader;
use crate::store::key::Key;
use crate::store::master_key::locked;
use crate::store::shelf::Shelf;
use crate::store::slot::Slot;
use crate::store::{Record, Rest, Store, StoreError, sealed_file};
use crate::token::RefreshToken;
use crate::token::answered::Answered;
use crate::token::rotation::Doubt;

/// The room that is taken before anything is sent: more than the answers of most issuers need.
const ROOM: u64 = 64 * 1024;

/// What a renewal is about to do. Written before a refresh token is presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The generation of the record whose refresh token is presented.
    pub generation: u64,
    /// What that record is bound to.
    pub fingerprint: Fingerprint,
    /// The SHA-256 of the refresh token.
    pub token_hash: [u8; 32],
    /// What is known of the token if no answer comes: the presentation that is about to be made counts.
    pub doubt: Doubt,
    /// The token itself, where no record has it.
    pub adopted: Option<Adopted>,
}

/// A refresh token of another client, which is presented for the first time here.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The token.
    pub refresh: RefreshToken,
    /// What is known of the refresh token that it would displace. It stays in force if this one comes to nothing.
    pub displaced: Option<Doubt>,
}

impl PartialEq for Adopted {
    fn eq(&self, other: &Self) -> bool {
        self.refresh.is(&other.refresh) && self.displaced == other.displaced
    }
}

impl Eq for Adopted {}

/// Where something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the state directory.
    State,
    /// Outside of it, since it cannot be written: until the machine is started anew.
    Spill,
}

/// What became of the beginning of a renewal.
#[derive(Debug)]
pub enum Begun {
    /// The intent is on disk, and there is room for the answer.
    Ready(Journal),
    /// The disk has a later generation than the intent is about.
    Overtaken(Box<Record>),
}

/// What a renewal left behind that nobody ended.
#[derive(Debug)]
pub struct Left {
    /// What it was about to do.
    pub intent: Intent,
    /// The answer, if one came.
    pub answered: Option<Answered>,
}

/// A journal that waits for an answer.
#[derive(Debug)]
pub struct Journal(Option<Page>);

/// Where the answer goes. There is none in a store in memory.
#[derive(Debug)]
struct Page {
    file: OpenFile,
    /// Where the intent ends.
    offset: u64,
    seal: Seal,
}

/// What the frames of one journal are sealed by.
#[derive(Debug)]
struct Seal {
    account: AccountName,
    generation: u64,
    key: Arc<Key>,
    clock: Clock,
}

impl Journal {
    /// Writes down the answer, as it came. When it returns, the answer is on disk. Blocks.
    ///
    /// # Errors
    /// See [`StoreError`]. May be called again.
    pub fn record(&mut self, answered: &Answered) -> Result<(), StoreError> {
        let Some(page) = &self.0 else { return Ok(()) };
        let bytes = form::answer_to_bytes(answered, &page.seal.clock);
        let frame = page.seal.frame(Slot::answer(&page.seal.account), bytes)?;
        let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
        let whole = offset.saturating_add(frame.len());
        if whole > Shelf::LONGEST_FILE {
            return Err(StoreError::TooLarge { bytes: whole });
        }
        page.file.write_at(&frame, page.offset)?;
        page.file.sync_data()?;
        failpoint::pass(Point::Journalled).map_err(|source| page.file.failed("sync", source))?;
        Ok(())
    }
}

impl Store {
    /// Writes down that a refresh token is about to be presented, takes room for the answer, and makes both durable. What
    /// an earlier attempt left is replaced. Blocks.
    ///
    /// # Errors
    /// See [`StoreError`]. What an earlier attempt left is still there, or the intent is in its place.
    pub fn begin_rotation(
        &self,
        account: &AccountName,
        intent: &Intent,
        place: Place,
    ) -> Result<Begun, StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(Begun::Ready(Journal(None))),
            Rest::Disk(disk) => disk.begin_rotation(account, intent, place, &self.clock),
        }
    }

    /// Returns what an earlier daemon, or an attempt whose outcome nobody knows, left in the state directory or outside.
    /// What belongs to an earlier generation than the one at rest is over, and is removed.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`StoreError::DamagedJournal`] nothing is left, but a refresh token may have been
    /// presented, as after an intent without an answer.
    pub fn left_rotation(&self, account: &AccountName) -> Result<Option<Left>, StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(None),
            Rest::Disk(disk) => disk.left_rotation(account, &self.clock),
        }
    }

    /// Removes the journal: the outcome is known and safe.
    ///
    /// # Errors
    /// Fails where the file cannot be removed. What a journal left says is then still [`Store::left_rotation`]'s.
    pub fn end_rotation(&self, account: &AccountName) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(()),
            Rest::Disk(disk) => disk.end_rotation(account),
        }
    }
}

impl Disk {
    fn begin_rotation(
        &self,
        account: &AccountName,
        intent: &Intent,
        place: Place,
        clock: &Clock,
    ) -> Result<Begun, StoreError> {
        let key = self.key.get(clock)?;
        let _turn = locked(&self.turn);
        let resting = match place {
            Place::State => self.resting(account, &key, clock)?,
            Place::Spill => self.resting_anyhow(account, &key, clock)?,
        };
        match resting {
            Resting::Record(record) if record.generation > intent.generation => {
                return Ok(Begun::Overtaken(Box::new(record)));
            }
            Resting::Record(_) | Resting::Nothing | Resting::Damaged => {}
        }
        let refuge;
        let shelf = match place {
            Place::State => &*self.shelf,
            Place::Spill => {
                refuge = self.spill.shelf()?;
                &refuge
            }
        };
        // What cannot be read may not be replaced.
        (Reader { disk: self, key: &key, account, clock }).look(shelf, place)?;
        let (account, clock) = (account.clone(), clock.clone());
        let seal = Seal { account, generation: intent.generation, key, clock };
        Ok(Begun::Ready(Journal(Some(self.write_intent(shelf, intent, seal)?))))
    }

    fn left_rotation(&self, account: &AccountName, clock: &Clock) -> Result<Option<Left>, StoreError> {
        let key = self.key.get(clock)?;
        let _turn = locked(&self.turn);
        let Some(left) = (Reader { disk: self, key: &key, account, clock }).latest()? else {
            return Ok(None);
        };
        match self.resting(account, &key, clock)? {
            Resting::Record(record) if record.generation > left.intent.generation => {
                self.forget_journal(account);
                Ok(None)
            }
            Resting::Record(_) | Resting::Nothing | Resting::Damaged => Ok(Some(left)),
        }
    }

    fn end_rotation(&self, account: &AccountName) -> Result<(), StoreError> {
        let _turn = locked(&self.turn);
        let slot = Slot::intent(account);
        // The one must not keep the other from going.
        let spilled = self.spill.scrub(slot);
        self.shelf.scrub(slot)?;
        spilled?;
        failpoint::pass(Point::Scrubbed).map_err(|source| self.failed_at("sync", slot, source))?;
        Ok(())
    }

    /// Removes the journal of a renewal that is over. Where that fails it is stale, and harms nobody.
    fn forget_journal(&self, account: &AccountName) {
        let slot = Slot::intent(account);
        self.forget_spilled(slot);
        if let Err(error) = self.shelf.scrub(slot) {
            tracing::warn!(%account, %error, "the journal of an earlier renewal stays behind");
        }
    }

    fn write_intent(&self, shelf: &Shelf, intent: &Intent, seal: Seal) -> Result<Page, StoreError> {
        let slot = Slot::intent(&seal.account);
        failpoint::pass(Point::Reread).map_err(|source| self.failed_at("read", slot, source))?;
        let frame = seal.frame(slot, form::intent_to_json(intent, &seal.clock))?;
        let written = shelf.draft(slot).and_then(|draft| {
            draft.reserve(ROOM)?;
            draft.sync()?;
            failpoint::pass(Point::Preflight).map_err(|source| draft.failed("take room for", source))?;
            draft.write_at(&frame, 0)?;
            draft.sync()?;
            Ok(draft)
        });
        let file = match written {
            Ok(file) => file,
            Err(error) => {
                shelf.discard_draft(slot);
                return Err(error.into());
            }
        };
        shelf.put_in_place(slot)?;
        failpoint::pass(Point::Intent).map_err(|source| file.failed("sync", source))?;
        Ok(Page { file, offset: frame.len() as u64, seal })
    }

    fn failed_at(&self, doing: &'static str, slot: Slot<'_>, source: std::io::Error) -> FileError {
        FileError::Io { doing, path: self.shelf.path_of(slot), source }
    }
}

impl Seal {
    /// Seals a frame, and puts its length before it.
    fn frame(&self, slot: Slot<'_>, plaintext: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        let bytes = plaintext.len().saturating_add(sealed_file::OVERHEAD);
        let length = u32::try_from(bytes).map_err(|_| StoreError::TooLarge { bytes })?;
        let sealed = sealed_file::seal(&self.key, slot, self.generation, plaintext)?;
        Ok([&length.to_be_bytes()[..], &sealed].concat())
    }
}

#[cfg(test)]
pub(crate) mod tests;
