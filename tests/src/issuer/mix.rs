//! Faults by chance, each run of them the same for the same seed.
//!
//! What comes of a fault depends on where it strikes: before the commit a renewal is merely late, after it the refresh
//! token is spent. A mix has both.

use std::time::Duration;

use super::fault::{Fault, Point};
use super::reply::Reply;
use crate::random::Random;

/// Faults that strike a share of the exchanges.
#[derive(Debug)]
pub struct Mix {
    random: Random,
    percent: u64,
    faults: Vec<(Point, Fault)>,
}

impl Mix {
    /// Makes a mix of these faults, each as probable as any other.
    ///
    /// # Panics
    /// Panics where there is no fault.
    pub fn new(seed: u64, percent: u64, faults: Vec<(Point, Fault)>) -> Self {
        assert!(!faults.is_empty(), "a mix of nothing");
        Self { random: Random::new(seed), percent, faults }
    }

    /// Makes a mix of what an issuer, and what stands before it, does to token requests on a bad day.
    pub fn of_a_bad_day(seed: u64, percent: u64) -> Self {
        let busy = || Reply::error(503, "temporarily_unavailable").with("retry-after", "2");
        let crowded = Reply::new(429, "text/plain", "too many requests").with("retry-after", "1");
        let faults = vec![
            (Point::BeforeRead, Fault::HangUp),
            (Point::BeforeRead, Fault::Reset),
            (Point::BeforeCommit, Fault::HangUp),
            (Point::BeforeCommit, Fault::Answer(busy())),
            (Point::BeforeCommit, Fault::Answer(Reply::html(503, "Service Unavailable"))),
            (Point::BeforeCommit, Fault::Answer(crowded)),
            (Point::BeforeCommit, Fault::Answer(Reply::html(200, "Welcome to our network"))),
            (Point::BeforeCommit, Fault::Delay(Duration::from_secs(2))),
            (Point::BeforeReply, Fault::HangUp),
            (Point::BeforeReply, Fault::Reset),
            (Point::BeforeReply, Fault::Answer(Reply::html(504, "Gateway Timeout"))),
            (Point::BeforeReply, Fault::Answer(Reply::html(200, "Welcome to our network"))),
            (Point::BeforeReply, Fault::Garble),
            (Point::BeforeReply, Fault::Delay(Duration::from_secs(2))),
            (Point::MidBody, Fault::HangUp),
            (Point::MidBody, Fault::Delay(Duration::from_secs(1))),
        ];
        Self::new(seed, percent, faults)
    }

    /// Decides about the exchange that begins now.
    pub(crate) fn draw(&mut self) -> Option<(Point, Fault)> {
        // Both are drawn in any case, so that another share of the same seed keeps the faults that it shares.
        let (chance, which) = (self.random.below(100), self.random.below(self.faults.len() as u64));
        (chance < self.percent).then(|| self.faults[which as usize].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_strikes_its_share_and_the_same_exchanges_for_the_same_seed() {
        let struck = |seed, percent| -> Vec<usize> {
            let mut mix = Mix::of_a_bad_day(seed, percent);
            (0..10_000).filter(|_| mix.draw().is_some()).collect()
        };
        assert!((400..600).contains(&struck(1, 5).len()), "{}", struck(1, 5).len());
        assert_eq!(struck(1, 5), struck(1, 5));
        assert_ne!(struck(1, 5), struck(2, 5));
        assert_eq!((struck(1, 0).len(), struck(1, 100).len()), (0, 10_000));
    }

    #[test]
    fn a_bad_day_has_faults_on_both_sides_of_the_commit() {
        let mut mix = Mix::of_a_bad_day(1, 100);
        let drawn: Vec<Point> = std::iter::from_fn(|| mix.draw()).take(200).map(|(point, _)| point).collect();
        for point in [Point::BeforeRead, Point::BeforeCommit, Point::BeforeReply, Point::MidBody] {
            assert!(drawn.contains(&point), "{point:?}");
        }
    }
}
