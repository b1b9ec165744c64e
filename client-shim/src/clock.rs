//! The only reader of clocks, and the only place that pauses.
//!
//! Waiting is measured on the monotonic clock; the wall clock serves display alone. The thing to get wrong: a timeout
//! per step adds up. A [`Deadline`] is set once and passed down, so that all steps together keep it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The moment by which something must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline that lies so far ahead.
    #[expect(clippy::disallowed_methods, reason = "this is the reader of clocks")]
    pub(crate) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Returns the time that is left; nothing where the deadline has passed.
    #[expect(clippy::disallowed_methods, reason = "this is the reader of clocks")]
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the reader of clocks")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Waits a moment before something is looked at again.
#[expect(clippy::disallowed_methods, reason = "the pause of a poll that has a deadline")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
