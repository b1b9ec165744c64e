//! How often something is said that anybody can cause to be said.

use std::time::Duration;

use crate::clock::Moment;

/// Lets one through in a time, and counts the others.
#[derive(Debug)]
pub(super) struct Throttle {
    every: Duration,
    last: Option<Moment>,
    unsaid: u64,
}

impl Throttle {
    /// Lets one through in this time.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: None, unsaid: 0 }
    }

    /// Returns how many were kept back before this one; nothing where it is kept back itself.
    pub(super) fn admits(&mut self, now: Moment) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < self.every) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn one_in_a_minute_is_said_and_the_others_are_counted() {
        let start = Clock::system().now().moment;
        let mut throttle = Throttle::new(Duration::from_secs(60));
        assert_eq!(throttle.admits(start), Some(0));
        for second in 1..60 {
            assert_eq!(throttle.admits(start.after(Duration::from_secs(second))), None);
        }
        assert_eq!(throttle.admits(start.after(Duration::from_secs(60))), Some(59));
        assert_eq!(throttle.admits(start.after(Duration::from_secs(61))), None);
        assert_eq!(throttle.admits(start.after(Duration::from_secs(3600))), Some(1));
    }
}
