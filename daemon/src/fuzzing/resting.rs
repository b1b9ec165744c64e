//! What rests on disk: sealed files, the records and logins in them, and journals.
//!
//! The thing to get wrong: whatever is not sealed with the right key is refused at the seal, so that nothing behind it
//! would ever be fuzzed. Hence the doors behind the seal.

use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::store::journal::form;
use crate::store::journal::reader::Found;
use crate::store::key::Key;
use crate::store::login::PendingLogin;
use crate::store::record::Record;
use crate::store::sealed_file;
use crate::store::slot::Slot;

/// A part of what rests for the account `prod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its tokens.
    Tokens,
    /// A login that is pending.
    Login,
    /// What a renewal is about to do.
    Intent,
    /// What came of it.
    Answer,
}

/// Calls back with a slot: the name that it borrows lives here.
fn at<T>(part: Part, seen: impl FnOnce(&Key, Slot<'_>) -> T) -> T {
    let name = "prod".parse().expect("it is a name");
    let key = Key::parse(&[7; Key::LENGTH]).expect("it is as long as a key");
    let slot = match part {
        Part::Tokens => Slot::tokens(&name),
        Part::Login => Slot::login(&name),
        Part::Intent => Slot::intent(&name),
        Part::Answer => Slot::answer(&name),
    };
    seen(&key, slot)
}

/// Seals what is for a part.
///
/// # Panics
/// Panics where the system has no random numbers.
pub fn seal(part: Part, generation: u64, plaintext: &[u8]) -> Vec<u8> {
    at(part, |key, slot| sealed_file::seal(key, slot, generation, Zeroizing::new(plaintext.to_vec())))
        .expect("the system has random numbers")
}

/// Opens what was sealed for a part, and returns its generation and what was sealed.
pub fn open(part: Part, sealed: &[u8]) -> Option<(u64, Vec<u8>)> {
    let opened = at(part, |key, slot| sealed_file::open(key, slot, sealed)).ok()?;
    Some((opened.generation, opened.plaintext.to_vec()))
}

/// Reads what was sealed for a part, and writes it again.
pub fn rewritten(part: Part, plaintext: &[u8], clock: &Clock) -> Option<Vec<u8>> {
    let written = match part {
        Part::Tokens => Record::from_json(1, plaintext, clock).ok()?.to_json(clock),
        Part::Login => PendingLogin::from_json(plaintext, clock).ok()?.to_json(clock),
        Part::Intent => form::intent_to_json(&form::intent_from_json(1, plaintext, clock).ok()?, clock),
        Part::Answer => form::answer_to_bytes(&form::answer_from_bytes(plaintext, clock).ok()?, clock),
    };
    Some(written.to_vec())
}

/// What a journal says.
#[derive(Debug)]
pub struct Journal {
    /// The generation of the record that was to be renewed.
    pub generation: u64,
    /// The body of the answer, if one came and opens.
    pub answer: Option<Vec<u8>>,
    /// Whether there is something behind the intent that does not open.
    pub is_torn: bool,
}

/// Reads a journal.
pub fn journal(bytes: &[u8], clock: &Clock) -> Option<Journal> {
    let found = at(Part::Intent, |key, slot| {
        let Found { left, intent_of_a_torn_answer } = Found::read(bytes, key, slot.account, clock).ok()?;
        Some((left, intent_of_a_torn_answer.is_some()))
    });
    let (left, is_torn) = found?;
    let answer = left.answered.map(|answered| answered.body.to_vec());
    Some(Journal { generation: left.intent.generation, answer, is_torn })
}
