//! What rests on disk. Never a panic; what opens is what was sealed; what was read is written as it was read.

#![no_main]

use std::sync::OnceLock;

use keyfob_daemon::clock::Clock;
use keyfob_daemon::fuzzing::resting::{Part, journal, open, rewritten, seal};
use libfuzzer_sys::fuzz_target;

const PARTS: [Part; 4] = [Part::Tokens, Part::Login, Part::Intent, Part::Answer];

const GENERATION: u64 = 3;

fn clock() -> &'static Clock {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::system)
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    let part = PARTS[usize::from(kind) % PARTS.len()];
    match (kind / 4) % 5 {
        // As it lies there: nobody has the key, so nothing opens.
        0 => {
            assert!(open(part, data).is_none());
            assert!(journal(data, clock()).is_none());
        }
        1 => opens_as_sealed(part, data),
        2 => damaged(part, data),
        3 => behind_the_seal(part, data),
        _ => of_frames(data),
    }
});

fn opens_as_sealed(part: Part, data: &[u8]) {
    let sealed = seal(part, GENERATION, data);
    assert_eq!(open(part, &sealed), Some((GENERATION, data.to_vec())));
    for other in PARTS.into_iter().filter(|other| *other != part) {
        assert!(open(other, &sealed).is_none(), "{part:?} passed for {other:?}");
    }
}

/// Changes a sealed file: the input is where, and to what.
fn damaged(part: Part, data: &[u8]) {
    let sealed = seal(part, GENERATION, b"a record with something in it");
    let mut changed = sealed.clone();
    for change in data.chunks_exact(2) {
        let at = usize::from(change[0]);
        match changed.get_mut(at) {
            Some(byte) => *byte ^= change[1],
            None => changed.truncate(usize::from(change[1])),
        }
    }
    assert!(changed == sealed || open(part, &changed).is_none(), "what was changed opens");
}

fn behind_the_seal(part: Part, data: &[u8]) {
    let Some(once) = rewritten(part, data, clock()) else { return };
    let twice = rewritten(part, &once, clock()).expect("what was written can be read");
    // Moments of another boot are told by the wall clock, and each reading of it is a little later.
    assert!(rewritten(part, &twice, clock()).is_some());
    if part == Part::Answer {
        let body = |bytes: &[u8]| {
            let (length, rest) = bytes.split_first_chunk::<4>().expect("it has a length");
            rest[u32::from_be_bytes(*length) as usize..].to_vec()
        };
        assert_eq!(body(&once), body(data), "the issuer's words were changed");
    }
}

/// Makes a journal: how long the intent is, the intent, then the answer; each sealed, with what comes behind them.
fn of_frames(data: &[u8]) {
    let Some((&length, rest)) = data.split_first() else { return };
    let (intent, answer) = rest.split_at(usize::from(length).min(rest.len()));
    let frame = |part, plaintext: &[u8]| {
        let sealed = seal(part, GENERATION, plaintext);
        [&(sealed.len() as u32).to_be_bytes()[..], &sealed].concat()
    };
    let intent_frame = frame(Part::Intent, intent);
    let whole = [&intent_frame[..], &frame(Part::Answer, answer)].concat();
    if let Some(found) = journal(&whole, clock()) {
        assert_eq!(found.generation, GENERATION);
        assert_eq!(found.is_torn, found.answer.is_none());
        assert!(found.answer.is_none_or(|body| answer.ends_with(&body)), "an answer that nobody gave");
    }
    // What was never sealed as an answer is none.
    let unsealed = [&intent_frame[..], answer].concat();
    assert!(journal(&unsealed, clock()).is_none_or(|found| found.answer.is_none()));
}
