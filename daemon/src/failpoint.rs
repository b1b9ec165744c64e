//! The points at which a test can let the daemon die or its disk fail, by the step of a rotation that they lie after.
//!
//! They are there with the feature `failpoints` alone. Without it every point is nothing, and the compiler drops it.

#[cfg(feature = "failpoints")]
mod armed;

use std::io;

#[cfg(feature = "failpoints")]
pub use armed::{Plan, arm};

/// A point in a rotation, in the order in which they are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// K0: an attempt begins.
    Begin,
    /// K1: the state directory is locked and has been read again.
    Reread,
    /// K2: the disk has room for the answer.
    Preflight,
    /// K3: the intent is on disk.
    Intent,
    /// K4: the request has been sent, and the answer is not here.
    Sent,
    /// K5: the answer is in memory.
    Answered,
    /// K6: the answer is on disk.
    Journalled,
    /// K7: the answer has been read.
    Parsed,
    /// K8: the next generation is written beside the old one.
    Written,
    /// K9: it is in its place.
    Renamed,
    /// K10: what led to it is gone.
    Scrubbed,
    /// K11: everybody has been told.
    Published,
}

/// Passes a point.
///
/// # Errors
/// Fails only where a test wants the disk to fail here.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass(_: Point) -> io::Result<()> {
    Ok(())
}

/// Passes a point, and does there what the plan says.
///
/// # Errors
/// Fails where the plan says so.
#[cfg(feature = "failpoints")]
pub fn pass(point: Point) -> io::Result<()> {
    armed::pass(point)
}
