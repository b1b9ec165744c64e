//! Two timers of Linux: one on the clock that runs through suspend, and one that only tells when the wall clock is set.
//!
//! The thing to get wrong: what the second one tells has to be read before it is armed again, or a setting in between is
//! lost.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::Moment;
use crate::clock::timer::Event;

/// Nobody waits for longer. The kernel would take more, but what it makes of the very last times differs.
const FARTHEST: i64 = 100 * 365 * 86_400;

/// Far behind every wall clock: this timer is there to be cancelled.
const NEVER: Timespec = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };

const NOTHING: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The timers.
pub(super) struct Timers {
    boot: AsyncFd<OwnedFd>,
    wall: AsyncFd<OwnedFd>,
    /// What the first one is set to.
    armed: Option<Moment>,
    /// Whether the second one has to be armed.
    is_wall_spent: bool,
}

impl Timers {
    /// Opens them, on the runtime that the caller is in.
    pub(super) fn new() -> io::Result<Self> {
        let (boot, wall) = (open(TimerfdClockId::Boottime)?, open(TimerfdClockId::Realtime)?);
        // A setting of the clock before the first wait is told in that wait.
        watch(&wall)?;
        Ok(Self { boot, wall, armed: None, is_wall_spent: false })
    }

    /// Waits until a moment, or until the wall clock was set. May end early.
    pub(super) async fn event(&mut self, until: Option<Moment>) -> io::Result<Event> {
        if self.is_wall_spent {
            self.is_wall_spent = false;
            if let Event::Set = watch(&self.wall)? {
                self.is_wall_spent = true;
                return Ok(Event::Set);
            }
        }
        if self.armed != until {
            set(&self.boot, TimerfdTimerFlags::ABSTIME, until.map_or(NOTHING, at))?;
            self.armed = until;
        }
        tokio::select! {
            event = read(&self.boot) => {
                self.armed = None;
                event
            }
            event = read(&self.wall) => {
                self.is_wall_spent = true;
                event
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor, which is all that the unsafe successor asks for"
)]
fn open(clock: TimerfdClockId) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    AsyncFd::with_interest(timer, Interest::READABLE)
}

/// Returns a moment as the kernel wants it: none before the boot, and zero is no time but "off".
fn at(moment: Moment) -> Timespec {
    let Moment(since_boot) = moment;
    let seconds = since_boot.as_secs();
    if seconds > FARTHEST {
        Timespec { tv_sec: FARTHEST, tv_nsec: 0 }
    } else if since_boot.is_positive() {
        Timespec { tv_sec: seconds, tv_nsec: since_boot.subsec_nanos().into() }
    } else {
        Timespec { tv_sec: 0, tv_nsec: 1 }
    }
}

/// Sets a timer. That it is armed holds even where the kernel tells of a setting in the same breath.
fn set(timer: &AsyncFd<OwnedFd>, flags: TimerfdTimerFlags, to: Timespec) -> io::Result<Event> {
    match timerfd_settime(timer, flags, &Itimerspec { it_interval: NOTHING, it_value: to }) {
        Ok(_) => Ok(Event::Passed),
        Err(Errno::CANCELED) => Ok(Event::Set),
        Err(error) => Err(error.into()),
    }
}

/// Arms the timer that tells when the wall clock is set.
fn watch(wall: &AsyncFd<OwnedFd>) -> io::Result<Event> {
    set(wall, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, NEVER)
}

/// Waits for what a timer has to tell.
async fn read(timer: &AsyncFd<OwnedFd>) -> io::Result<Event> {
    timer
        .async_io(Interest::READABLE, |timer| {
            let mut expirations = [0; 8];
            match rustix::io::read(timer.as_fd(), &mut expirations) {
                Ok(_) => Ok(Event::Passed),
                Err(Errno::CANCELED) => Ok(Event::Set),
                Err(error) => Err(error.into()),
            }
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::timerfd_gettime;

    use super::*;
    use crate::clock::{SignedDuration, boot_time};

    // Setting the clock of the machine takes a privilege, and would be rude: what a setting leaves behind is made by hand.

    #[tokio::test]
    async fn the_wall_timer_is_armed_again_after_each_word_of_it_and_never_ends_a_wait_by_itself_s_7() {
        let mut timers = Timers::new().unwrap();
        let is_armed = |timers: &Timers| timerfd_gettime(&timers.wall).unwrap().it_value.tv_sec > FARTHEST;
        assert!(is_armed(&timers), "what happens before the first wait is missed");
        for round in 1..=20 {
            // As a setting of the clock leaves it: told, and not armed.
            set(&timers.wall, TimerfdTimerFlags::ABSTIME, NOTHING).unwrap();
            timers.is_wall_spent = true;
            let until = boot_time().after(Duration::from_millis(2));
            assert_eq!(timers.event(Some(until)).await.unwrap(), Event::Passed, "round {round}");
            assert!(boot_time() >= until, "the wait ended early in round {round}: something else ended it");
            assert!(is_armed(&timers), "round {round}");
        }
    }

    #[tokio::test]
    async fn a_wall_timer_that_speaks_is_read_before_it_is_armed_again_s_7() {
        let mut timers = Timers::new().unwrap();
        for round in 1..=20 {
            // An expiry stands in for a cancellation: both are one word to read.
            timers.is_wall_spent = false;
            set(&timers.wall, TimerfdTimerFlags::ABSTIME, Timespec { tv_sec: 1, tv_nsec: 0 }).unwrap();
            timers.event(None).await.unwrap();
            assert!(timers.is_wall_spent, "round {round}");
            let left = rustix::io::read(timers.wall.as_fd(), &mut [0; 8]);
            assert_eq!(
                left.unwrap_err(),
                Errno::AGAIN,
                "round {round}: a word is left, so the loop is a busy one"
            );
        }
    }

    #[tokio::test]
    async fn an_earlier_moment_is_taken_from_the_timer_and_none_turns_it_off() {
        let mut timers = Timers::new().unwrap();
        let (soon, late) = (Duration::from_millis(2), Duration::from_secs(3600));
        for until in [Some(boot_time().after(late)), None, Some(Moment(SignedDuration::MAX))] {
            assert!(tokio::time::timeout(Duration::ZERO, timers.event(until)).await.is_err());
            assert_eq!(timers.armed, until);
            let value = timerfd_gettime(&timers.boot).unwrap().it_value;
            assert_eq!(until.is_some(), (value.tv_sec, value.tv_nsec) != (0, 0));
        }
        let until = boot_time().after(soon);
        assert_eq!(timers.event(Some(until)).await.unwrap(), Event::Passed);
        for past in [until, Moment(SignedDuration::ZERO), Moment(SignedDuration::MIN)] {
            assert_eq!(timers.event(Some(past)).await.unwrap(), Event::Passed, "{past:?}");
        }
    }
}
