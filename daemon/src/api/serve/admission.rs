//! How many may be connected at once, in all and of one program.
//!
//! The thing to get wrong: a limit in all alone lets one program that leaks connections shut out every other, and a limit
//! for each program alone lets many of them take the descriptors that a renewal needs.

use std::collections::HashMap;

use crate::api::peer::known::MAX_KNOWN;

/// How many connections there are at most. A thousand tools that wait for one renewal leave room for as many who ask for
/// something else; a connection costs us some 12 KiB.
const MAX_CONNECTIONS: usize = 2048;

/// How many of them one program has at most: more than any pool of a client library, few enough that a leak is contained.
const MAX_OF_PEER: usize = 64;

/// The descriptors that are not for connections: some twenty are open at any time, and a renewal that is under way takes
/// up to six for its connection, its lookup and its files, of which four at once are left room for.
const RESERVED_DESCRIPTORS: u64 = 44;

/// What a connection takes: one for itself, and one that holds on to the process at its other end.
const DESCRIPTORS_EACH: u64 = 2;

/// Of the descriptors that are left, one in so many is for processes that are known without a connection.
const SHARE_OF_KNOWN: u64 = 16;

/// Where even so few are there, we go on one by one.
const MIN_CONNECTIONS: usize = 2;

/// Who is connected.
#[derive(Debug)]
pub(super) struct Admission {
    places: usize,
    known: usize,
    inside: usize,
    /// By process id. Those from other pid namespaces have none that we know, and so share one entry.
    of_peer: HashMap<Option<i32>, usize>,
}

/// A program has as many connections as one program may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Admission {
    /// Lets in as many as a limit on descriptors leaves room for.
    pub(super) fn new(descriptors: Option<u64>) -> Self {
        let mut admission =
            Self { places: MAX_CONNECTIONS, known: MAX_KNOWN, inside: 0, of_peer: HashMap::new() };
        admission.adapt(descriptors);
        admission
    }

    /// Takes in another limit on descriptors.
    pub(super) fn adapt(&mut self, descriptors: Option<u64>) {
        let Some(limit) = descriptors else {
            (self.places, self.known) = (MAX_CONNECTIONS, MAX_KNOWN);
            return;
        };
        let most =
            |number: u64, limit: usize| usize::try_from(number).map_or(limit, |number| number.min(limit));
        let left = limit.saturating_sub(RESERVED_DESCRIPTORS);
        self.known = most(left / SHARE_OF_KNOWN, MAX_KNOWN);
        let left = left - self.known as u64;
        self.places = most(left / DESCRIPTORS_EACH, MAX_CONNECTIONS).max(MIN_CONNECTIONS);
    }

    /// Returns how many processes may be known at most.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Tells whether anybody may come in.
    pub(super) fn has_room(&self) -> bool {
        self.inside < self.places
    }

    /// Tells whether all have left.
    pub(super) fn is_empty(&self) -> bool {
        self.inside == 0
    }

    /// Lets somebody in, unless their program has as many connections as it may have.
    pub(super) fn enter(&mut self, pid: Option<i32>) -> Result<(), Crowded> {
        let most = self.most_of(pid);
        let of_peer = self.of_peer.entry(pid).or_default();
        if *of_peer >= most {
            return Err(Crowded);
        }
        *of_peer += 1;
        self.inside += 1;
        Ok(())
    }

    /// Lets somebody out who was let in.
    pub(super) fn leave(&mut self, pid: Option<i32>) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(of_peer) = self.of_peer.get_mut(&pid) {
            *of_peer -= 1;
            if *of_peer == 0 {
                self.of_peer.remove(&pid);
            }
        }
    }

    /// Returns how many connections a program may have: never all there are. Programs that we cannot tell apart, which are
    /// those in containers, have a quarter of all for themselves.
    fn most_of(&self, pid: Option<i32>) -> usize {
        match pid {
            Some(_) => MAX_OF_PEER.min(self.places / 2),
            None => MAX_OF_PEER.max(self.places / 4).min(self.places / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOMEBODY: Option<i32> = Some(4242);

    fn fill(admission: &mut Admission, pid: Option<i32>) -> usize {
        (0..MAX_CONNECTIONS).take_while(|_| admission.has_room() && admission.enter(pid).is_ok()).count()
    }

    #[test]
    fn one_program_takes_no_more_than_its_share_and_gets_it_back() {
        let mut admission = Admission::new(None);
        assert_eq!(fill(&mut admission, SOMEBODY), MAX_OF_PEER);
        assert_eq!(admission.enter(SOMEBODY), Err(Crowded));
        assert_eq!(admission.enter(Some(1)), Ok(()));
        admission.leave(SOMEBODY);
        assert_eq!(admission.enter(SOMEBODY), Ok(()));
        assert_eq!(admission.enter(SOMEBODY), Err(Crowded));
    }

    #[test]
    fn programs_of_unknown_pid_share_a_quarter() {
        let mut admission = Admission::new(None);
        assert_eq!(fill(&mut admission, None), MAX_CONNECTIONS / 4);
        assert_eq!(admission.enter(SOMEBODY), Ok(()));
    }

    #[test]
    fn at_the_limit_nobody_comes_in_until_somebody_leaves() {
        let mut admission = Admission::new(None);
        let mut pids = (1..).map(Some);
        while admission.has_room() {
            assert_eq!(admission.enter(pids.next().unwrap()), Ok(()));
        }
        assert_eq!(admission.inside, MAX_CONNECTIONS);
        admission.leave(Some(7));
        assert!(admission.has_room());
    }

    #[test]
    fn a_limit_on_descriptors_leaves_some_for_renewals_and_no_program_gets_all() {
        for (limit, places, known) in
            [(0, 2, 0), (44, 2, 0), (64, 9, 1), (1024, 478, MAX_KNOWN), (20_000, MAX_CONNECTIONS, MAX_KNOWN)]
        {
            let mut admission = Admission::new(Some(limit));
            assert_eq!((admission.places, admission.known()), (places, known), "{limit}");
            for pid in [SOMEBODY, None] {
                let mine = fill(&mut admission, pid);
                assert!(mine >= 1 && mine <= places / 2, "{limit}: {mine} of {places}");
                (0..mine).for_each(|_| admission.leave(pid));
            }
            assert!(admission.is_empty() && admission.of_peer.is_empty());
        }
    }

    #[test]
    fn a_limit_that_was_lowered_is_met_by_those_who_leave() {
        let mut admission = Admission::new(Some(1024));
        (1..=100).for_each(|pid| admission.enter(Some(pid)).unwrap());
        admission.adapt(Some(64));
        assert!(!admission.has_room());
        (1..=92).for_each(|pid| admission.leave(Some(pid)));
        assert!(admission.has_room());
    }
}
