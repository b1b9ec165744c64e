//! What the alarm waits on: the timers of the system, or what stands in for them.
//!
//! The thing to get wrong: timers of the runtime stand still during suspend. Where there is nothing better, a wait is
//! short, and the clocks are looked at again after it.

use std::time::Duration;

#[cfg(target_os = "linux")]
use crate::clock::timerfd::Timers;
use crate::clock::{Clock, Moment, Source};

/// The longest stretch that a timer of the runtime is trusted for: so long after a resume sleepers wake at the latest.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What there is to wait on.
pub(super) enum Timer {
    /// Timers on the clocks themselves.
    #[cfg(target_os = "linux")]
    System(Timers),
    /// Timers of the runtime, and a look at the clocks from time to time.
    Runtime,
    /// The clocks of a test.
    #[cfg(test)]
    Simulated(tokio::sync::watch::Receiver<crate::clock::simulated::Shifts>),
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Time has passed.
    Passed,
    /// The wall clock was set, or the machine woke.
    Set,
}

impl Timer {
    pub(super) fn of(clock: &Clock) -> Self {
        match &clock.source {
            Source::System => Self::of_the_system(),
            #[cfg(test)]
            Source::Simulated(simulated) => Self::Simulated(simulated.shifts()),
        }
    }

    #[cfg(target_os = "linux")]
    fn of_the_system() -> Self {
        match Timers::new() {
            Ok(timers) => Self::System(timers),
            Err(error) => Self::without(&error),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn of_the_system() -> Self {
        Self::Runtime
    }

    #[cfg(target_os = "linux")]
    fn without(error: &std::io::Error) -> Self {
        tracing::warn!(%error, "no timer of the system: the clocks are looked at every {LONGEST_SLEEP:?} instead");
        Self::Runtime
    }

    /// Waits until a moment, or until a clock was set. May end early.
    pub(super) async fn event(&mut self, clock: &Clock, until: Option<Moment>) -> Event {
        match self {
            #[cfg(target_os = "linux")]
            Self::System(timers) => match timers.event(until).await {
                Ok(event) => event,
                Err(error) => {
                    *self = Self::without(&error);
                    Event::Passed
                }
            },
            Self::Runtime => {
                let left = until.map_or(LONGEST_SLEEP, |until| until.since(clock.now().moment));
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
                Event::Passed
            }
            #[cfg(test)]
            Self::Simulated(shifts) => clock.simulated().event(shifts, until).await,
        }
    }
}
