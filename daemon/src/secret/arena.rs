//! Slots of locked memory, for secrets of any length.
//!
//! Pages come in chunks and are kept to the end; a slot that is given back is wiped and used again. The thing to get wrong:
//! the system may let us lock little or nothing (`RLIMIT_MEMLOCK`). Then the daemon goes on without, and says so once.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use crate::secret::raw_memory::{self, Pages};

/// Taken from the system at once: room for some hundred logins, and all that a user may lock where Linux is older than 5.16.
const CHUNK: usize = 64 * 1024;

/// A slot is never shorter: a cache line, so that most tokens of one login are in one or two.
const SHORTEST: usize = 64;

static ARENA: Mutex<Arena> = Mutex::new(Arena { fresh: &mut [], free: BTreeMap::new(), is_short: false });

struct Arena {
    /// What no slot has been made of.
    fresh: &'static mut [u8],
    /// What slots gave back, by length: a power of two.
    free: BTreeMap<usize, Vec<&'static mut [u8]>>,
    /// Whether the system did not lock something, which has been said.
    is_short: bool,
}

/// Memory that nobody else has, wiped when it is dropped.
pub(super) struct Slot(&'static mut [u8]);

/// Returns a slot of zeros, as long as this or longer.
pub(super) fn slot(length: usize) -> Slot {
    Slot(arena().take(length.max(SHORTEST).next_power_of_two()))
}

fn arena() -> MutexGuard<'static, Arena> {
    // Nothing in here leaves it half changed.
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    fn take(&mut self, length: usize) -> &'static mut [u8] {
        if let Some(used) = self.free.get_mut(&length).and_then(Vec::pop) {
            return used;
        }
        if length > CHUNK / 4 {
            return self.pages(length);
        }
        if self.fresh.len() < length {
            let left = mem::take(&mut self.fresh);
            self.share_out(left);
            self.fresh = self.pages(CHUNK);
        }
        let (taken, fresh) = mem::take(&mut self.fresh).split_at_mut(length);
        self.fresh = fresh;
        taken
    }

    /// Makes shorter slots of what is too short.
    fn share_out(&mut self, mut left: &'static mut [u8]) {
        while left.len() >= SHORTEST {
            let (part, rest) = left.split_at_mut(1 << left.len().ilog2());
            self.free.entry(part.len()).or_default().push(part);
            left = rest;
        }
    }

    fn pages(&mut self, length: usize) -> &'static mut [u8] {
        let pages = raw_memory::pages(length);
        let (bytes, refused) = match pages {
            Ok(Pages { bytes, refused }) => (bytes, refused),
            Err(error) => (Box::leak(vec![0; length].into_boxed_slice()), Some(error)),
        };
        if let Some(error) = refused.filter(|_| !mem::replace(&mut self.is_short, true)) {
            tracing::warn!(
                %error,
                "keys and refresh tokens may be swapped or copied: the system does not lock or hide their memory; if the error is \
                 about memory, raise the limit (LimitMEMLOCK=)"
            );
        }
        bytes
    }
}

impl Slot {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.zeroize();
        let bytes = mem::take(&mut self.0);
        arena().free.entry(bytes.len()).or_default().push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Arena {
        Arena { fresh: &mut [], free: BTreeMap::new(), is_short: false }
    }

    #[test]
    fn a_slot_is_empty_when_it_is_given_out_again() {
        // No other test asks for slots of this length.
        const LENGTH: usize = 4 * CHUNK;
        let mut first = slot(LENGTH);
        first.bytes_mut().fill(1);
        let place = first.bytes().as_ptr();
        drop(first);
        let again = slot(LENGTH);
        assert_eq!(again.bytes().as_ptr(), place);
        assert!(again.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn slots_never_overlap_and_nothing_is_wasted() {
        let mut arena = empty();
        let lengths = [64, 128, CHUNK / 4, 64, CHUNK / 4, CHUNK / 4, CHUNK / 4, 8192, CHUNK / 2, 1 << 20];
        let taken: Vec<_> = lengths.iter().map(|length| arena.take(*length)).collect();
        for (number, (slot, length)) in taken.into_iter().zip(lengths).enumerate() {
            assert_eq!(slot.len(), length);
            assert!(slot.iter().all(|byte| *byte == 0), "slot {number} has something of another");
            slot.fill(u8::try_from(number + 1).unwrap());
        }
        let left: usize = arena.free.iter().map(|(length, slots)| length * slots.len()).sum();
        let used: usize = lengths.iter().filter(|length| **length <= CHUNK / 4).sum();
        assert_eq!(left + arena.fresh.len() + used, 2 * CHUNK);
    }

    #[test]
    fn ten_thousand_logins_fit_into_what_a_user_may_usually_lock() {
        const USUAL_LIMIT: usize = 8 * 1024 * 1024;
        let (refresh_token, proof_key) = (64, 256);
        assert!(10_000 * (refresh_token + proof_key) + CHUNK < USUAL_LIMIT);
        let slots: Vec<_> = (0..10_000).map(|_| slot(40)).collect();
        let mut places: Vec<_> = slots.iter().map(|slot| slot.bytes().as_ptr()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), slots.len());
    }
}
