//! Waiting: the only file of this package in which time is let pass, and the only one that reads a clock.
//!
//! A test never sleeps for as long as it believes something takes. It waits for the thing itself: [`eventually`] looks
//! again and again, and a deadline turns "never" into a failure with a name.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How long a story waits for what should happen at once: far more than a loaded machine with two cores takes.
pub const SOON: Duration = Duration::from_secs(20);

/// The pause between two looks: short beside any process start, long enough not to starve what is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// The pause between two looks of a measurement.
const INSTANT: Duration = Duration::from_micros(100);

/// Waits until `holds` is true.
///
/// # Panics
/// Panics with `what` once `within` has passed.
#[track_caller]
pub fn eventually(within: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    found(within, what, || holds().then_some(()));
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// Panics with `what` once `within` has passed.
#[track_caller]
pub fn found<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(thing) = look() {
            return thing;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        pause();
    }
}

/// Waits until `holds` is true, looking so often that the moment is known to a fraction of a millisecond: for measurements.
///
/// # Panics
/// Panics with `what` once [`SOON`] has passed.
#[track_caller]
pub fn promptly(what: &str, mut holds: impl FnMut() -> bool) {
    let start = now();
    while !holds() {
        assert!(start.elapsed() < SOON, "not within {SOON:?}: {what}");
        rest(INSTANT);
    }
}

/// Returns the current moment, for a ledger to count from.
#[expect(clippy::disallowed_methods, reason = "the one reader of the clock in this package")]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the seconds that the wall clock shows, as tokens tell them (RFC 7519 §2).
#[expect(clippy::disallowed_methods, reason = "the one reader of the clock in this package")]
pub(crate) fn unix_time() -> i64 {
    Timestamp::now().as_second()
}

/// Lets a slow issuer take its time.
pub(crate) async fn latency(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn pause() {
    rest(PAUSE);
}

/// Lets time pass in a run whose length is what it is about. A test waits for something instead.
#[expect(clippy::disallowed_methods, reason = "the one pause of this package")]
pub fn rest(duration: Duration) {
    thread::sleep(duration);
}
