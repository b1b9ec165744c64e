//! Wakes whoever sleeps until a moment, and tells when a clock has jumped: one timer for all of them.
//!
//! The thing to get wrong: a deadline before the one that the timer is set to has to set it anew, and a sleeper that is
//! dropped must leave none behind.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::clock::jump::{Counts, Lookout};
use crate::clock::timer::Timer;
use crate::clock::{Clock, Moment};

/// The sleepers of a clock, and those who listen for its jumps.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleepers: Mutex<Sleepers>,
    /// Says that the first deadline is another one now.
    changed: Notify,
    jumps: watch::Sender<Counts>,
}

#[derive(Debug, Default)]
struct Sleepers {
    /// By deadline. The number parts those of one deadline.
    waiting: BTreeMap<(Moment, u64), Waker>,
    last_number: u64,
    driver: Driver,
}

/// Whether somebody sees to the timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Driver {
    #[default]
    Absent,
    Running,
}

impl Alarm {
    pub(super) fn jumps(&self) -> watch::Receiver<Counts> {
        self.jumps.subscribe()
    }

    /// Starts the task that sees to the timer, unless it runs: in the runtime of the first who needs it.
    pub(super) fn start(clock: &Clock) {
        let Ok(runtime) = Handle::try_current() else { return };
        let driver = mem::replace(&mut clock.alarm.sleepers().driver, Driver::Running);
        if driver == Driver::Absent {
            // A runtime that has ended drops the task at once, and that wants the lock. From here on, and not from when the
            // task has its first turn, no jump is missed.
            runtime.spawn(drive(Shift(clock.clone()), Timer::of(clock), Lookout::new(clock.now())));
        }
    }

    fn set(&self, until: Moment, number: Option<u64>, waker: &Waker) -> u64 {
        let mut sleepers = self.sleepers();
        let number = number.unwrap_or_else(|| {
            sleepers.last_number = sleepers.last_number.wrapping_add(1);
            sleepers.last_number
        });
        let key = (until, number);
        match sleepers.waiting.entry(key) {
            Entry::Occupied(mut entry) => entry.get_mut().clone_from(waker),
            Entry::Vacant(entry) => {
                entry.insert(waker.clone());
                if sleepers.is_first(key) {
                    self.changed.notify_one();
                }
            }
        }
        number
    }

    fn clear(&self, until: Moment, number: u64) {
        let mut sleepers = self.sleepers();
        let was_first = sleepers.is_first((until, number));
        if sleepers.waiting.remove(&(until, number)).is_some() && was_first {
            self.changed.notify_one();
        }
    }

    /// Wakes those whose moment has come, and returns the next deadline.
    fn ring(&self, now: Moment) -> Option<Moment> {
        let mut due = Vec::new();
        let mut sleepers = self.sleepers();
        while let Some(first) = sleepers.waiting.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        let next = sleepers.waiting.first_key_value().map(|((until, _), _)| *until);
        // Whoever is woken may want the lock.
        drop(sleepers);
        due.into_iter().for_each(Waker::wake);
        next
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.sleepers().waiting.len()
    }
}

impl Sleepers {
    fn is_first(&self, key: (Moment, u64)) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == key)
    }
}

/// Sees to the timer for as long as the runtime lives.
async fn drive(shift: Shift, mut timer: Timer, mut lookout: Lookout) {
    let Shift(clock) = &shift;
    loop {
        let next = clock.alarm.ring(clock.now().moment);
        tokio::select! {
            event = timer.event(clock, next) => {
                if let Some(jump) = lookout.look(event, clock.now()) {
                    tracing::info!(?jump, "a clock jumped");
                    clock.alarm.jumps.send_modify(|counts| counts.add(jump));
                }
            }
            () = clock.alarm.changed.notified() => {}
        }
    }
}

/// The duty to see to the timer. Where it ends, by a panic or with its runtime, one of the sleepers starts another.
struct Shift(Clock);

impl Drop for Shift {
    fn drop(&mut self) {
        let mut sleepers = self.0.alarm.sleepers();
        sleepers.driver = Driver::Absent;
        let left: Vec<_> = sleepers.waiting.values().cloned().collect();
        drop(sleepers);
        left.into_iter().for_each(Waker::wake);
    }
}

/// Waits until a moment has come.
pub(super) struct Sleep<'a> {
    clock: &'a Clock,
    alarm: &'a Arc<Alarm>,
    until: Moment,
    number: Option<u64>,
}

impl<'a> Sleep<'a> {
    pub(super) fn new(clock: &'a Clock, until: Moment) -> Self {
        Self { clock, alarm: &clock.alarm, until, number: None }
    }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now().moment >= self.until {
            return Poll::Ready(());
        }
        Alarm::start(self.clock);
        self.number = Some(self.alarm.set(self.until, self.number, context.waker()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.alarm.clear(self.until, number);
        }
    }
}
