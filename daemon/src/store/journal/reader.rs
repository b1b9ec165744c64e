//! What journals of an account say, and what becomes of those that do not open.
//!
//! A journal gets its name when its intent is on disk. So one without an intent was damaged, and its renewal may have been
//! sent; one whose answer does not open was either damaged or not written to its end. The thing to get wrong is to throw
//! either away: somebody may make something of it still.

use std::path::PathBuf;

use keyfob_protocol::account::AccountName;

use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::directory::{Content, FileError};
use crate::store::disk::Disk;
use crate::store::journal::{Left, Place, form};
use crate::store::key::Key;
use crate::store::sealed_file::{self, Opened, Refusal};
use crate::store::shelf::Shelf;
use crate::store::slot::Slot;

/// How long the number before a frame is.
const PREFIX: usize = 4;

/// Reads the journals of an account. Whoever has one holds the turn.
pub(super) struct Reader<'a> {
    pub(super) disk: &'a Disk,
    pub(super) key: &'a Key,
    pub(super) account: &'a AccountName,
    pub(super) clock: &'a Clock,
}

/// What a journal turns out to be.
#[expect(clippy::large_enum_variant, reason = "there are a few at a time, and they live for a few lines")]
pub(super) enum Seen {
    /// There is none, or one that means nothing here.
    Nothing,
    Left(Left),
    /// It is out of the way, at this path.
    Damaged(PathBuf),
}

/// What a journal holds.
pub(crate) struct Found<'a> {
    pub(crate) left: Left,
    /// The part with the intent, where the answer does not open.
    pub(crate) intent_of_a_torn_answer: Option<&'a [u8]>,
}

impl Reader<'_> {
    /// Returns what the journals say, that of the state directory and those that were spilled.
    pub(super) fn latest(&self) -> Result<Option<Left>, StoreError> {
        let mut latest: Option<Left> = None;
        let mut damaged = None;
        let mut seen = vec![self.look(&self.disk.shelf, Place::State)?];
        if let Some(copy) = self.disk.spill.copy(self.slot()) {
            seen.push(self.judge(&copy.shelf, &copy.sealed, Place::Spill)?);
        }
        for seen in seen {
            match seen {
                Seen::Nothing => {}
                Seen::Left(left) if latest.as_ref().is_some_and(|latest| latest.knows_more_than(&left)) => {}
                Seen::Left(left) => latest = Some(left),
                Seen::Damaged(aside) => damaged = Some(aside),
            }
        }
        match (latest, damaged) {
            (None, Some(aside)) => Err(StoreError::DamagedJournal { aside }),
            (latest, _) => Ok(latest),
        }
    }

    /// Looks at the journal in one place.
    pub(super) fn look(&self, shelf: &Shelf, place: Place) -> Result<Seen, StoreError> {
        match shelf.read(self.slot())? {
            Some(journal) => self.judge(shelf, &journal, place),
            None => Ok(Seen::Nothing),
        }
    }

    fn judge(&self, shelf: &Shelf, journal: &[u8], place: Place) -> Result<Seen, StoreError> {
        match (Found::read(journal, self.key, self.account, self.clock), place) {
            (Ok(Found { left, intent_of_a_torn_answer }), _) => {
                if let Some(intent) = intent_of_a_torn_answer {
                    self.part_with_answer(shelf, journal, intent);
                }
                Ok(Seen::Left(left))
            }
            (Err(Refusal::NewerFormat), _) => {
                Err(StoreError::NewerFormat { path: shelf.path_of(self.slot()) })
            }
            (Err(Refusal::WrongKey), Place::State) => Err(self.disk.wrong_key(self.slot())),
            // Of a store that was here before, and is gone.
            (Err(Refusal::WrongKey), Place::Spill) => {
                self.set_aside(shelf);
                Ok(Seen::Nothing)
            }
            (Err(Refusal::Corrupt), _) => Ok(Seen::Damaged(self.set_aside(shelf))),
        }
    }

    /// Keeps a journal whose answer does not open for whoever can make something of it, and leaves the intent in its
    /// place. Where that fails all stays as it is.
    fn part_with_answer(&self, shelf: &Shelf, journal: &[u8], intent: &[u8]) {
        match self.kept_aside(shelf, journal, intent) {
            Ok(aside) => {
                let aside = aside.display();
                tracing::warn!(account = %self.account, %aside, "the answer to a renewal does not open");
            }
            Err(error) => {
                tracing::warn!(account = %self.account, %error, "the answer to a renewal does not open");
            }
        }
    }

    fn kept_aside(&self, shelf: &Shelf, journal: &[u8], intent: &[u8]) -> Result<PathBuf, FileError> {
        let aside = shelf.keep_aside(self.slot(), journal, self.clock.now().wall)?;
        shelf.replace(self.slot(), Content::Other(intent))?;
        Ok(aside)
    }

    /// Sets a journal aside. Returns where it is, which is where it was if that fails.
    fn set_aside(&self, shelf: &Shelf) -> PathBuf {
        let aside = shelf.set_aside(self.slot(), self.clock.now().wall);
        tracing::warn!(account = %self.account, ?aside, "the journal of a renewal does not open");
        aside.unwrap_or_else(|_| shelf.path_of(self.slot()))
    }

    fn slot(&self) -> Slot<'_> {
        Slot::intent(self.account)
    }
}

impl<'a> Found<'a> {
    /// Reads a journal.
    pub(crate) fn read(
        journal: &'a [u8],
        key: &Key,
        account: &AccountName,
        clock: &Clock,
    ) -> Result<Self, Refusal> {
        let (sealed, rest) = split_frame(journal).ok_or(Refusal::Corrupt)?;
        let Opened { generation, plaintext } = sealed_file::open(key, Slot::intent(account), sealed)?;
        let intent = form::intent_from_json(generation, &plaintext, clock).map_err(|_| Refusal::Corrupt)?;
        let answered = split_frame(rest)
            .and_then(|(sealed, _)| sealed_file::open(key, Slot::answer(account), sealed).ok())
            .filter(|answer| answer.generation == generation)
            .and_then(|answer| form::answer_from_bytes(&answer.plaintext, clock).ok());
        let is_torn = answered.is_none() && rest.iter().any(|byte| *byte != 0);
        let intent_of_a_torn_answer = is_torn.then(|| &journal[..journal.len() - rest.len()]);
        Ok(Self { left: Left { intent, answered }, intent_of_a_torn_answer })
    }
}

impl Left {
    /// Tells whether it is of a later generation than another, or at least has an answer, or more presentations.
    fn knows_more_than(&self, other: &Self) -> bool {
        let rank =
            |left: &Self| (left.intent.generation, left.answered.is_some(), left.intent.doubt.presentations);
        rank(self) >= rank(other)
    }
}

/// Splits off a frame; nothing where there is none, or not the whole of it.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length > 0)?;
    rest.split_at_checked(length)
}
