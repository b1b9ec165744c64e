//! The clocks of a test: they follow the runtime's own, so that a paused runtime moves expiry and sleeping alike, and
//! jump when they are told to.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::timer::Event;
use crate::clock::{BootId, Clock, Moment, Now, Source};

#[derive(Debug)]
pub(super) struct Simulated {
    origin: Now,
    started: Instant,
    shifts: watch::Sender<Shifts>,
}

/// How far the clocks have jumped from where the runtime's would have them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shifts {
    boot: SignedDuration,
    wall: SignedDuration,
}

impl Simulated {
    pub(super) fn shifts(&self) -> watch::Receiver<Shifts> {
        self.shifts.subscribe()
    }

    pub(super) fn now(&self) -> Now {
        let Shifts { boot, wall } = *self.shifts.borrow();
        let Moment(moment) = self.origin.moment.after(self.started.elapsed());
        let moment = Moment(moment.saturating_add(boot));
        let wall = self.origin.wall_at(moment).saturating_add(wall);
        Now { moment, wall: wall.expect("a duration has no calendar units") }
    }

    /// Waits until a moment, or until a clock jumps.
    pub(super) async fn event(&self, shifts: &mut watch::Receiver<Shifts>, until: Option<Moment>) -> Event {
        let passed = async {
            match until {
                Some(until) => tokio::time::sleep(until.since(self.now().moment)).await,
                // A timer of the runtime, however far away, would make a paused one jump to it.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = shifts.changed() => changed.map(|()| Event::Set).expect("we hold the other end"),
            () = passed => Event::Passed,
        }
    }

    fn shift(&self, change: impl FnOnce(&mut Shifts)) {
        self.shifts.send_modify(change);
    }
}

impl Clock {
    /// Returns clocks that begin like this.
    pub(super) fn beginning(boot: &str, origin: Now) -> Self {
        let shifts = watch::Sender::default();
        let simulated = Simulated { origin, started: Instant::now(), shifts };
        Self::with(BootId(boot.to_owned()), Source::Simulated(Arc::new(simulated)))
    }

    /// Returns clocks that follow the runtime's own.
    pub(crate) fn following_tokio() -> Self {
        let wall = "2026-11-21T12:00:00Z".parse().expect("a literal timestamp");
        Self::beginning("a-test", Now { moment: Moment(SignedDuration::from_hours(1)), wall })
    }

    /// Returns the clocks of the same machine after a restart, with a wall clock that shows what it likes.
    pub(crate) fn of_another_boot(wall: Timestamp) -> Self {
        Self::beginning("another-boot", Now { moment: Moment(SignedDuration::from_secs(20)), wall })
    }

    /// Lets the machine sleep: the runtime's clock does not notice.
    pub(crate) fn suspend(&self, time: Duration) {
        self.move_boot(SignedDuration::try_from(time).expect("a time that a test can mean"));
    }

    /// Moves the boot clock, and the wall clock with it. No kernel moves it back; arithmetic must not mind.
    pub(crate) fn move_boot(&self, by: SignedDuration) {
        self.simulated().shift(|shifts| shifts.boot = shifts.boot.saturating_add(by));
    }

    /// Sets the wall clock.
    pub(crate) fn set_wall(&self, to: Timestamp) {
        let by = to.duration_since(self.now().wall);
        self.simulated().shift(|shifts| shifts.wall = shifts.wall.saturating_add(by));
    }

    pub(super) fn simulated(&self) -> &Simulated {
        match &self.source {
            Source::Simulated(simulated) => simulated,
            Source::System => panic!("no test sets the clock of the machine"),
        }
    }
}
