//! When a server has refused a token: told by a client, or seen from who asks again.
//!
//! A client whose token command has no way to say "refused" runs the command again. That is told from other reasons for
//! running it again by one rule. A consumer (a process, by pid and start time) that asks again for the very token that
//! it was given [`LEARNING`] ago or longer has been refused it: had it been served, it would still hold it.
//!
//! Whoever asks sooner is part of a burst: ten threads that start at once, or a client that tries four times within
//! milliseconds, and these two look the same from here. Nobody of a burst causes a renewal; all of it gets what the
//! first got. A refusal is the first of its burst to ask again for an old token, so the renewal is made for that one,
//! and the rest of the burst waits for it or gets its token.
//!
//! The thing to get wrong: a server that refuses every token, or a program that keeps none, would have a token renewed
//! all the time. So a token that came from a refusal is not renewed for another one until a pause has passed, which
//! doubles as long as that does not help.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::grant::Wanted;
use crate::token::TokenHash;

/// Until then an asker may still be one of a burst that began together: a slow start of ten threads takes a second.
const LEARNING: Duration = Duration::from_secs(5);

/// The shortest time between two renewals for refusals.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest: about as often as a token of an hour is renewed anyway.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Consumers that are remembered at most; of more, the one that asked least recently is forgotten, and so is not
/// taken for refused. Each is about a hundred bytes, and as much more as the target that it asked for.
const MAX_CONSUMERS: usize = 1024;

/// Targets whose refusals are remembered at most. More than an account keeps tokens for.
const MAX_TARGETS: usize = 128;

/// A process that uses tokens. A pid alone would be another process one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Consumer {
    /// Its pid.
    pub pid: i32,
    /// When it started, in ticks since the boot.
    pub started: u64,
}

/// The token in force. Some issuers and programs give the same one again as long as it lives: renewed, it is as new as
/// any, and a refusal of it says that renewing does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The token.
    pub token: TokenHash,
    /// When it was obtained last.
    pub issued_at: Moment,
}

/// What to do about a token that is asked for again or was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it: nothing says that a server refused it.
    Serve,
    /// A server refused it: renew it before the client is answered.
    Renew,
    /// It was obtained because of a refusal, and is refused as well: another one would not help.
    Futile,
}

/// What is known of consumers and refusals.
#[derive(Debug, Default)]
pub struct Rejections {
    given: HashMap<(Consumer, Wanted), Given>,
    refused: HashMap<Wanted, Refused>,
}

/// What a consumer was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    token: TokenHash,
    /// When it was given that for the first time.
    first: Moment,
    latest: Moment,
}

/// The latest refusal that a renewal was made for.
#[derive(Clone, Copy, Debug)]
struct Refused {
    token: InForce,
    /// When it was refused last: the renewal that it leads to is not made before.
    at: Moment,
    /// How long no other renewal is made for a refusal.
    pause: Duration,
    /// Whether the token that came of it was refused as well.
    is_futile: bool,
}

impl Rejections {
    /// Notes that a consumer asks, and decides whether a server refused the token in force.
    pub fn asks(&mut self, consumer: Consumer, wanted: &Wanted, in_force: InForce, now: Moment) -> Verdict {
        let Some(given) = self.given.get_mut(&(consumer, wanted.clone())) else { return Verdict::Serve };
        given.latest = now;
        if given.token != in_force.token || now.since(given.first) < LEARNING {
            return Verdict::Serve;
        }
        self.refuses(wanted, in_force, now)
    }

    /// Notes what a consumer was given.
    pub fn gives(&mut self, consumer: Consumer, wanted: &Wanted, token: TokenHash, now: Moment) {
        let key = (consumer, wanted.clone());
        match self.given.get_mut(&key) {
            Some(given) if given.token == token => given.latest = now,
            Some(given) => *given = Given { token, first: now, latest: now },
            None => {
                if self.given.len() >= MAX_CONSUMERS {
                    forget_oldest(&mut self.given, |given| given.latest);
                }
                self.given.insert(key, Given { token, first: now, latest: now });
            }
        }
    }

    /// Decides about a token in force that a server is known to have refused.
    pub fn refuses(&mut self, wanted: &Wanted, token: InForce, now: Moment) -> Verdict {
        let pause = match self.refused.get_mut(wanted) {
            None => SHORTEST_PAUSE,
            // The renewal is under way, or failed: when it is made again is a matter of its backoff.
            Some(refused) if refused.token == token => {
                refused.at = now;
                return Verdict::Renew;
            }
            Some(refused) if now.since(refused.at) < refused.pause => {
                refused.is_futile = true;
                return Verdict::Futile;
            }
            // Soon after the pause it is the same trouble, long after it is another.
            Some(refused) if now.since(refused.at) < refused.pause * 2 => {
                (refused.pause * 2).min(LONGEST_PAUSE)
            }
            Some(_) => SHORTEST_PAUSE,
        };
        if self.refused.len() >= MAX_TARGETS && !self.refused.contains_key(wanted) {
            forget_oldest(&mut self.refused, |refused| refused.at);
        }
        self.refused.insert(wanted.clone(), Refused { token, at: now, pause, is_futile: false });
        Verdict::Renew
    }

    /// Tells whether a token that was obtained because of a refusal has been refused as well, not long ago.
    pub fn is_futile(&self, now: Moment) -> bool {
        self.refused.values().any(|refused| refused.is_futile && now.since(refused.at) < refused.pause * 2)
    }
}

/// Forgets the entry that was touched least recently.
fn forget_oldest<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    touched: impl Fn(&V) -> Moment,
) {
    let oldest = map.iter().min_by_key(|(_, value)| touched(value)).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const PYTHON: Consumer = Consumer { pid: 7, started: 1 };

    /// A cache with one token in force, as the daemon asks and gives.
    struct World {
        start: Moment,
        rejections: Rejections,
        token: u32,
        issued_at: Moment,
        renewals: u32,
    }

    impl World {
        fn new() -> Self {
            let start = Clock::system().now().moment;
            Self { start, rejections: Rejections::default(), token: 1, issued_at: start, renewals: 0 }
        }

        fn at(&self, seconds: f64) -> Moment {
            self.start.after(Duration::from_secs_f64(seconds))
        }

        fn in_force(&self) -> InForce {
            InForce { token: TokenHash::of(&self.token.to_string()), issued_at: self.issued_at }
        }

        /// Asks, and returns the number of the token that is given.
        fn ask(&mut self, consumer: Consumer, seconds: f64) -> u32 {
            let now = self.at(seconds);
            if self.rejections.asks(consumer, &Wanted::Own, self.in_force(), now) == Verdict::Renew {
                self.renew();
                self.renewals += 1;
            }
            self.rejections.gives(consumer, &Wanted::Own, self.in_force().token, now);
            self.token
        }

        fn renew(&mut self) {
            self.token += 1;
        }
    }

    /// Plays asks of one consumer at these seconds, and returns which tokens it got.
    fn plays(seconds: &[f64]) -> Vec<u32> {
        let mut world = World::new();
        seconds.iter().map(|&at| world.ask(PYTHON, at)).collect()
    }

    #[test]
    fn a_refusal_is_told_from_a_burst() {
        let cases: [(&str, &[f64], &[u32]); 8] = [
            ("a client that asks once, as Go's do", &[0.0], &[1]),
            ("ten cold threads", &[0.0, 0.0, 0.01, 0.01, 0.02, 0.1, 0.3, 0.9, 2.0, 4.9], &[1; 10]),
            ("refused after ten minutes", &[0.0, 600.0], &[1, 2]),
            (
                "refused after ten minutes, four tries",
                &[0.0, 600.0, 600.01, 600.02, 600.03],
                &[1, 2, 2, 2, 2],
            ),
            ("cold and refused at once, then again later", &[0.0, 0.01, 0.02, 0.03, 6.0], &[1, 1, 1, 1, 2]),
            ("everything is refused", &[0.0, 600.0, 606.0, 620.0, 659.0, 661.0], &[1, 2, 2, 2, 2, 3]),
            ("refused today and tomorrow", &[0.0, 600.0, 87_000.0, 87_100.0], &[1, 2, 3, 4]),
            (
                "a second refusal soon after waits longer",
                &[0.0, 100.0, 161.0, 222.0, 282.0],
                &[1, 2, 3, 3, 4],
            ),
        ];
        for (what, seconds, expected) in cases {
            assert_eq!(plays(seconds), expected, "{what}");
        }
    }

    #[test]
    fn a_program_that_asks_for_each_request_costs_less_and_less() {
        let mut world = World::new();
        for second in 0..8 * 3600 {
            if second % 10 == 0 {
                world.ask(PYTHON, f64::from(second));
            }
        }
        assert!(world.renewals <= 14, "{} renewals in a working day", world.renewals);
        assert!(world.rejections.is_futile(world.at(8.0 * 3600.0)));
    }

    #[test]
    fn another_process_with_the_same_pid_is_another_consumer() {
        let mut world = World::new();
        world.ask(PYTHON, 0.0);
        assert_eq!(world.ask(Consumer { started: 2, ..PYTHON }, 600.0), 1);
        assert_eq!(world.ask(PYTHON, 600.0), 2);
    }

    #[test]
    fn a_token_that_was_replaced_in_the_meantime_is_no_refusal() {
        let mut world = World::new();
        world.ask(PYTHON, 0.0);
        world.renew();
        assert_eq!(world.ask(PYTHON, 3000.0), 2);
        assert_eq!(world.ask(PYTHON, 3001.0), 2);
        assert_eq!(world.renewals, 0);
    }

    #[test]
    fn who_asks_while_the_renewal_is_under_way_or_has_failed_is_refused_as_well() {
        let mut world = World::new();
        for consumer in [PYTHON, Consumer { pid: 8, ..PYTHON }] {
            world.ask(consumer, 0.0);
        }
        let (in_force, now) = (world.in_force(), world.at(600.0));
        for consumer in [PYTHON, Consumer { pid: 8, ..PYTHON }, PYTHON] {
            assert_eq!(world.rejections.asks(consumer, &Wanted::Own, in_force, now), Verdict::Renew);
        }
    }

    #[test]
    fn a_fresh_token_that_is_refused_is_said_to_be_until_it_works_for_a_while() {
        let mut world = World::new();
        world.ask(PYTHON, 0.0);
        world.ask(PYTHON, 600.0);
        assert!(!world.rejections.is_futile(world.at(600.0)));
        world.ask(PYTHON, 606.0);
        assert!(world.rejections.is_futile(world.at(607.0)));
        assert!(!world.rejections.is_futile(world.at(720.0)));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_the_least_recent_goes() {
        let mut world = World::new();
        for pid in 0..=MAX_CONSUMERS {
            world.ask(Consumer { pid: i32::try_from(pid).unwrap(), started: 1 }, 0.001 * pid as f64);
        }
        assert_eq!(world.rejections.given.len(), MAX_CONSUMERS);
        assert_eq!(world.ask(Consumer { pid: 0, started: 1 }, 600.0), 1, "it was meant to be forgotten");
        assert_eq!(world.ask(Consumer { pid: 2, started: 1 }, 600.0), 2);
    }

    #[test]
    fn a_hash_is_read_from_its_hexadecimal_form_and_from_nothing_else() {
        // By sha256sum.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::from_hex(hex), Some(TokenHash::of("abc")));
        assert_eq!(TokenHash::of("abc").fingerprint(), hex[..16]);
        assert_eq!(TokenHash::from_hex(&hex.to_uppercase()), Some(TokenHash::of("abc")));
        for bad in ["", "ba", &hex[1..], &format!("{hex}00"), &hex.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(TokenHash::from_hex(bad), None, "{bad:?}");
        }
    }
}
