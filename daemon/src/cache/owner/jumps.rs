//! The owner's part when a clock jumps.
//!
//! What is due is so by the boot clock, and is worked out anew each time that the owner has done something: that is all
//! that a wall clock which was set can ask for. The thing to get wrong: a machine that naps all day must not ask its issuer
//! at each of its naps.

use std::time::Duration;

use crate::cache::owner::Owner;
use crate::clock::jump::Jump;

/// Pauses after failures end at most this often: a laptop whose lid is played with wakes every few seconds, and longer
/// pauses than this come from failures that a nap does not mend.
const FRESH_START_GAP: Duration = Duration::from_secs(30);

impl Owner {
    /// Takes in that a clock has jumped. After a sleep the network may be another one.
    pub(super) fn heed(&mut self, jump: Jump) {
        let now = self.clock.now().moment;
        let was_lately = self.fresh_start_at.is_some_and(|at| now.since(at) < FRESH_START_GAP);
        match jump {
            Jump::Resumed if !was_lately => {
                self.fresh_start_at = Some(now);
                self.own.state.start_afresh(now);
                self.variants.start_afresh(now);
            }
            Jump::Resumed | Jump::WallSet => {}
        }
    }
}
