//! The only reader of clocks.
//!
//! Expiry is decided on `CLOCK_BOOTTIME`, which runs through suspend and ignores every change of the wall clock; the
//! wall clock serves display, and restarts, where the boot clock has begun again. The thing to get wrong: a [`Moment`]
//! means nothing in another boot, so what goes to disk is a [`Stamp`].

#![deny(clippy::arithmetic_side_effects)]

mod alarm;
pub mod jump;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
mod timer;
#[cfg(target_os = "linux")]
mod timerfd;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

use crate::clock::alarm::{Alarm, Sleep};
use crate::clock::jump::Jumps;

/// A wall clock that shows this much less than when a life began was set right in the meantime. One that shows still less
/// tells nothing about the time between.
const SET_RIGHT: Duration = Duration::from_secs(60);

/// A point on the boot clock of this boot. May lie before the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(SignedDuration);

impl Moment {
    /// Returns the moment so much later, or the last there is.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(signed(duration)))
    }

    /// Returns the moment so much earlier, or the first there is.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(signed(duration)))
    }

    /// Returns the time from `earlier` to this moment; zero where there is none.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0).try_into().unwrap_or(Duration::ZERO)
    }
}

/// One boot of the machine: `/proc/sys/kernel/random/boot_id`, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootId(String);

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The boot clock.
    pub moment: Moment,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Now {
    /// Returns what the wall clock shows, or showed, at a moment, if nobody sets it.
    pub fn wall_at(self, moment: Moment) -> Timestamp {
        self.wall.saturating_add(moment.0.saturating_sub(self.moment.0)).unwrap_or(Timestamp::MAX)
    }

    /// Returns the moment at which the wall clock shows, or showed, a time, if nobody sets it.
    pub fn moment_at(self, wall: Timestamp) -> Moment {
        Moment(self.moment.0.saturating_add(wall.duration_since(self.wall)))
    }
}

/// A moment as it goes to disk: on both clocks, with the boot that the boot clock belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    boot: BootId,
    /// Nanoseconds on the boot clock.
    since_boot: SignedDuration,
    wall: Timestamp,
}

/// The clocks. Clones share one timer.
#[derive(Clone, Debug)]
pub struct Clock {
    boot: BootId,
    source: Source,
    alarm: Arc<Alarm>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Simulated(Arc<simulated::Simulated>),
}

impl Clock {
    /// Returns the clocks of the machine.
    pub fn system() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::with(BootId(boot.trim().to_owned()), Source::System)
    }

    fn with(boot: BootId, source: Source) -> Self {
        Self { boot, source, alarm: Arc::default() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        match &self.source {
            Source::System => Now { moment: boot_time(), wall: wall_time() },
            #[cfg(test)]
            Source::Simulated(simulated) => simulated.now(),
        }
    }

    /// Waits until a moment has come, through suspend as well.
    pub async fn sleep_until(&self, moment: Moment) {
        Sleep::new(self, moment).await;
    }

    /// Tells of the jumps of the clocks from now on.
    pub fn jumps(&self) -> Jumps {
        Jumps::of(self)
    }

    /// Returns a moment in the form that survives this boot.
    pub fn stamp(&self, moment: Moment) -> Stamp {
        Stamp { boot: self.boot.clone(), since_boot: moment.0, wall: self.now().wall_at(moment) }
    }

    /// Returns the moment that a stamp means: by the boot clock within the same boot, else by the wall clock.
    pub fn moment(&self, stamp: &Stamp) -> Moment {
        let is_of_this_boot = stamp.boot == self.boot && !self.boot.0.is_empty();
        if is_of_this_boot { Moment(stamp.since_boot) } else { self.now().moment_at(stamp.wall) }
    }

    /// Tells whether nobody knows how long ago a stamp was made: the clock has not even come to it. It was set back, or has
    /// lost its battery.
    pub fn has_lost_count_since(&self, made: &Stamp) -> bool {
        self.moment(made) > self.now().moment.after(SET_RIGHT)
    }

    /// Returns the beginning and the end of a life. By a wall clock that has gone back behind its beginning, as one without
    /// a battery does, nobody can tell whether it goes on: then it has just ended.
    pub fn life(&self, from: &Stamp, until: Option<&Stamp>) -> (Moment, Option<Moment>) {
        let (now, start) = (self.now().moment, self.moment(from));
        let end = until.map(|until| self.moment(until));
        if !self.has_lost_count_since(from) {
            return (start, end);
        }
        (now.before(end.map_or(Duration::ZERO, |end| end.since(start))), Some(now))
    }
}

fn boot_time() -> Moment {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    Moment(SignedDuration::new(time.tv_sec, i32::try_from(time.tv_nsec).unwrap_or(0)))
}

fn wall_time() -> Timestamp {
    let time = rustix::time::clock_gettime(ClockId::Realtime);
    let nanoseconds = i32::try_from(time.tv_nsec).unwrap_or(0);
    let beyond = if time.tv_sec < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(time.tv_sec, nanoseconds).unwrap_or(beyond)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
