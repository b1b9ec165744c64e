//! Tokens for other targets than the account's own: narrower ones, and those for another audience or resource.
//!
//! Each target has tokens of its own, so that a narrower token never displaces the account's, and none for one resource
//! is served to a request for another. They live in memory alone: whoever wants one again after a restart gets one by
//! the login that is on disk.
//!
//! They are renewed for those who use them and not ahead by themselves. Each costs the issuer a request and, where it
//! rotates, the account a refresh token, so what nobody asks for any more must cost nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::lane::{Lane, Reply};
use crate::clock::Moment;
use crate::token::Target;
use crate::token::need::Need;
use crate::token::state::{Means, Renewal, SignedOut, TokenState};

/// Targets that an account has tokens for at most, beside its own: more than anybody has servers, few enough that a
/// client which makes up a target for each request does no harm.
pub(super) const MAX_VARIANTS: usize = 64;

/// The tokens for other targets, as a reader may see them.
pub type Snapshot = Arc<BTreeMap<Target, VariantView>>;

/// The tokens for one target at a time.
#[derive(Clone, Debug)]
pub struct VariantView {
    /// What is held and how its renewal goes.
    pub state: TokenState,
    usage: Arc<Usage>,
}

impl VariantView {
    /// Notes that somebody was served from here.
    pub(super) fn note_use(&self) {
        self.usage.note();
    }
}

/// When something was used last, in uses of anything.
#[derive(Debug)]
struct Usage {
    uses: Arc<AtomicU64>,
    latest: AtomicU64,
}

impl Usage {
    fn note(&self) {
        self.latest.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

struct Variant {
    lane: Lane,
    usage: Arc<Usage>,
}

/// The tokens for other targets.
#[derive(Default)]
pub(super) struct Variants {
    known: BTreeMap<Target, Variant>,
    uses: Arc<AtomicU64>,
    snapshot: Snapshot,
}

/// There are as many targets as can be, and each is waited for.
pub(super) struct Full;

impl Variants {
    /// Returns the lane of a target, if there is one.
    pub(super) fn get(&mut self, target: &Target) -> Option<&mut Lane> {
        self.known.get_mut(target).map(|variant| &mut variant.lane)
    }

    /// Returns the lane of a target, which takes the place of the one least recently used where there are too many.
    pub(super) fn open(&mut self, target: &Target, now: Moment) -> Result<&mut Lane, Full> {
        if !self.known.contains_key(target) {
            self.make_room()?;
            // What it is renewed with belongs to the account: as far as this target is concerned, no person is needed.
            let lane = Lane::new(TokenState::signed_out(Means::Grant, SignedOut::Never, now));
            let usage = Arc::new(Usage { uses: Arc::clone(&self.uses), latest: AtomicU64::new(0) });
            self.known.insert(target.clone(), Variant { lane, usage });
        }
        let variant = self.known.get_mut(target).ok_or(Full)?;
        variant.usage.note();
        Ok(&mut variant.lane)
    }

    fn make_room(&mut self) -> Result<(), Full> {
        if self.known.len() < MAX_VARIANTS {
            return Ok(());
        }
        let idle = self.known.iter().filter(|(_, variant)| {
            !variant.lane.is_awaited() && !matches!(variant.lane.state.renewal(), Renewal::InFlight { .. })
        });
        let oldest = idle.min_by_key(|(_, variant)| variant.usage.latest.load(Ordering::Relaxed));
        let oldest = oldest.map(|(target, _)| target.clone()).ok_or(Full)?;
        self.known.remove(&oldest);
        Ok(())
    }

    /// Returns the targets that somebody waits for.
    pub(super) fn awaited(&self) -> Vec<Target> {
        let awaited = self.known.iter().filter(|(_, variant)| variant.lane.is_awaited());
        awaited.map(|(target, _)| target.clone()).collect()
    }

    /// Makes an attempt for each target possible at once: the settings, or the world, have changed.
    pub(super) fn hasten(&mut self, now: Moment) {
        for variant in self.known.values_mut() {
            variant.lane.state.hasten(now);
        }
        self.publish();
    }

    /// Ends the pauses after failures: the world has changed.
    pub(super) fn start_afresh(&mut self, now: Moment) {
        for variant in self.known.values_mut() {
            variant.lane.state.start_afresh(now);
        }
        self.publish();
    }

    /// Forgets all tokens, and returns who waits for some.
    pub(super) fn clear(&mut self) -> Vec<(Target, Need, Reply)> {
        let mut left = Vec::new();
        for (target, mut variant) in std::mem::take(&mut self.known) {
            let waiting = variant.lane.take_waiting();
            left.extend(waiting.into_iter().map(|(need, reply)| (target.clone(), need, reply)));
        }
        self.publish();
        left
    }

    /// Lets readers see what has changed.
    pub(super) fn publish(&mut self) {
        let view = |variant: &Variant| VariantView {
            state: variant.lane.state.clone(),
            usage: Arc::clone(&variant.usage),
        };
        self.snapshot =
            Arc::new(self.known.iter().map(|(target, variant)| (target.clone(), view(variant))).collect());
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.snapshot)
    }
}
