//! Jumps of the clocks: the machine slept, or somebody set the wall clock.
//!
//! What is due is decided on the boot clock, so no jump makes a decision wrong. After a sleep, though, the world is
//! another: what failed before may work now.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::alarm::Alarm;
use crate::clock::timer::Event;
use crate::clock::{Clock, Now};

/// A smaller difference between two clocks is that between two looks at them.
const LEAST: Duration = Duration::from_secs(1);

/// How the clocks jumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// The machine slept, and woke.
    Resumed,
    /// The wall clock was set. The boot clock went on as ever.
    WallSet,
}

/// How often the clocks jumped so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    resumed: u64,
    set: u64,
}

impl Counts {
    pub(super) fn add(&mut self, jump: Jump) {
        match jump {
            Jump::Resumed => self.resumed = self.resumed.wrapping_add(1),
            Jump::WallSet => self.set = self.set.wrapping_add(1),
        }
    }
}

/// Tells of the jumps of a clock.
pub struct Jumps {
    clock: Clock,
    counts: watch::Receiver<Counts>,
    heard: Counts,
}

impl Jumps {
    pub(super) fn of(clock: &Clock) -> Self {
        Alarm::start(clock);
        let counts = clock.alarm.jumps();
        let heard = *counts.borrow();
        Self { clock: clock.clone(), counts, heard }
    }

    /// Waits for the next one. Of several since the last time a resume is the one that is told.
    pub async fn next(&mut self) -> Jump {
        Alarm::start(&self.clock);
        if self.counts.changed().await.is_err() {
            // The clock that we hold has the other end.
            std::future::pending::<()>().await;
        }
        let counts = *self.counts.borrow_and_update();
        let has_slept = counts.resumed != self.heard.resumed;
        self.heard = counts;
        if has_slept { Jump::Resumed } else { Jump::WallSet }
    }
}

/// Compares the clocks with what they showed before.
pub(super) struct Lookout {
    now: Now,
    /// The runtime's clock, which stands still while the machine sleeps.
    awake: Instant,
}

impl Lookout {
    pub(super) fn new(now: Now) -> Self {
        Self { now, awake: Instant::now() }
    }

    /// Looks at the clocks, and says how they jumped, if they did.
    pub(super) fn look(&mut self, event: Event, now: Now) -> Option<Jump> {
        let before = std::mem::replace(self, Self::new(now));
        let passed = now.moment.since(before.now.moment);
        let awake = self.awake.saturating_duration_since(before.awake);
        let set = now.wall.duration_since(before.now.wall_at(now.moment)).unsigned_abs();
        if passed.saturating_sub(awake) >= LEAST {
            Some(Jump::Resumed)
        } else if event == Event::Set || set >= LEAST {
            Some(Jump::WallSet)
        } else {
            None
        }
    }
}
