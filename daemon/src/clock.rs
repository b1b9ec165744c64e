//! The only reader of clocks.
//!
//! Expiry is decided on `CLOCK_BOOTTIME`, which runs through suspend and ignores every change of the wall clock; the
//! wall clock serves display, and restarts, where the boot clock has begun again. The thing to get wrong: a [`Moment`]
//! means nothing in another boot, so what goes to disk is a [`Stamp`].

use std::fs;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

/// The longest stretch that a sleep is trusted for. Timers of the runtime stand still during suspend, so after a
/// resume a sleeper looks at the boot clock again within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

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

/// The clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    boot: BootId,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Tokio {
        origin: Now,
        started: tokio::time::Instant,
    },
}

impl Clock {
    /// Returns the clocks of the machine.
    pub fn system() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: BootId(boot.trim().to_owned()), source: Source::System }
    }

    /// Returns clocks that follow the runtime's own, so that a paused runtime moves expiry and sleeping alike.
    #[cfg(test)]
    pub(crate) fn following_tokio() -> Self {
        let wall = "2026-11-21T12:00:00Z".parse().expect("a literal timestamp");
        let origin = Now { moment: Moment(SignedDuration::from_hours(1)), wall };
        Self {
            boot: BootId("a-test".to_owned()),
            source: Source::Tokio { origin, started: tokio::time::Instant::now() },
        }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        match self.source {
            Source::System => Now { moment: boot_time(), wall: wall_time() },
            #[cfg(test)]
            Source::Tokio { origin, started } => {
                let moment = origin.moment.after(started.elapsed());
                Now { moment, wall: origin.wall_at(moment) }
            }
        }
    }

    /// Waits until a moment has come.
    pub async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = moment.since(self.now().moment);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    /// Returns a moment in the form that survives this boot.
    pub fn stamp(&self, moment: Moment) -> Stamp {
        Stamp { boot: self.boot.clone(), since_boot: moment.0, wall: self.now().wall_at(moment) }
    }

    /// Returns the moment that a stamp means: by the boot clock within the same boot, else by the wall clock.
    pub fn moment(&self, stamp: &Stamp) -> Moment {
        if stamp.boot == self.boot && !self.boot.0.is_empty() {
            Moment(stamp.since_boot)
        } else {
            self.now().moment_at(stamp.wall)
        }
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

#[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
fn wall_time() -> Timestamp {
    Timestamp::now()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot: &str, since_boot_hours: i64, wall: &str) -> (Clock, Now) {
        let now =
            Now { moment: Moment(SignedDuration::from_hours(since_boot_hours)), wall: wall.parse().unwrap() };
        let started = tokio::time::Instant::now();
        (Clock { boot: BootId(boot.to_owned()), source: Source::Tokio { origin: now, started } }, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_ignores_the_wall_clock_within_one_boot() {
        let (before, now) = at("boot-1", 5, "2026-11-21T12:00:00Z");
        let stamp = before.stamp(now.moment.after(Duration::from_secs(60)));
        let (set_back_a_year, later) = at("boot-1", 5, "2025-11-21T12:00:00Z");
        assert_eq!(set_back_a_year.moment(&stamp).since(later.moment), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stamp_follows_the_wall_clock_into_the_next_boot() {
        let (before, now) = at("boot-1", 5, "2026-11-21T12:00:00Z");
        let stamp = before.stamp(now.moment.after(Duration::from_secs(3600)));
        let (rebooted, now) = at("boot-2", 0, "2026-11-21T12:30:00Z");
        assert_eq!(rebooted.moment(&stamp).since(now.moment), Duration::from_secs(1800));
        let (much_later, now) = at("boot-2", 0, "2026-11-22T12:00:00Z");
        assert_eq!(much_later.moment(&stamp).since(now.moment), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_arithmetic_on_moments_can_overflow() {
        let (_, now) = at("boot-1", 0, "2026-11-21T12:00:00Z");
        let last = now.moment.after(Duration::MAX).after(Duration::MAX);
        assert!(last > now.moment);
        assert_eq!(now.moment.since(last), Duration::ZERO);
        assert_eq!(now.wall_at(last), Timestamp::MAX);
        assert!(now.moment_at(Timestamp::MIN) < now.moment);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_at_its_moment_however_far_away() {
        let clock = Clock::following_tokio();
        let moment = clock.now().moment.after(Duration::from_secs(8 * 3600));
        clock.sleep_until(moment).await;
        assert_eq!(clock.now().moment, moment);
    }
}
