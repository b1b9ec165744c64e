//! When to renew, and how long to wait after a failure: pure functions of times and one random number.
//!
//! Two mistakes of the field are ruled out here. A margin in seconds makes short-lived tokens due on arrival, for
//! ever: so the margin is a share of the lifetime. A backoff that can be zero turns an outage into a storm: so there
//! is a floor.

#![deny(clippy::arithmetic_side_effects)]

use std::time::Duration;

use crate::clock::Moment;
use crate::token::AccessToken;

/// Under this lifetime a token is renewed when somebody asks, not ahead: renewing ahead would mean all the time.
pub const SHORTEST_AHEAD: Duration = Duration::from_secs(20);

/// Under this lifetime a token is renewed at half of it: a tenth of spread would be mere seconds.
const SHORT: Duration = Duration::from_secs(120);

/// The lifetime that the schedule assumes where the issuer states none. Such a token is served until a renewal
/// replaces it.
pub(crate) const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);

/// Two successful renewals of one account lie at least this far apart, whatever the lifetime and whoever asks.
pub const MIN_GAP: Duration = Duration::from_secs(10);

/// After a failed attempt, how long a waiting client must wait before it can pull the next one forward.
pub const PULL_GAP: Duration = Duration::from_secs(5);

/// Longest backoff while the access token still works: recovery must be quick, but nobody suffers yet.
const MAX_BACKOFF_ALIVE: Duration = Duration::from_secs(60);

/// Longest backoff once it has expired: a waiting client pulls attempts forward anyway.
const MAX_BACKOFF_EXPIRED: Duration = Duration::from_secs(300);

/// Longest backoff after the first failure: most of them are gone by then.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Shortest backoff: full jitter alone could come out as nothing.
const MIN_BACKOFF: Duration = Duration::from_millis(500);

/// After a failure that only other settings can mend, the daemon tries by itself once in this time.
pub const MISCONFIGURED_GAP: Duration = Duration::from_secs(3600);

/// After such a failure, how long a client must wait before it can pull an attempt forward: somebody may have mended
/// the registration, but a tool that retries in a loop must not hammer the issuer.
pub const MISCONFIGURED_PULL_GAP: Duration = Duration::from_secs(30);

/// The bounds within which an issuer's `Retry-After` is honoured.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// A random number in [0, 1): spreads what would otherwise happen at once.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(f64);

impl Jitter {
    /// Makes one of random bits.
    pub fn from_bits(bits: u32) -> Self {
        Self(f64::from(bits) / (f64::from(u32::MAX) + 1.0))
    }
}

/// When a token is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Ahead of its expiry.
    At(Moment),
    /// When somebody asks and it does not live long enough for them.
    OnDemand,
}

/// Decides when to renew a token: at 60 to 70 % of its lifetime, counted from the start of the request.
pub fn plan(token: &AccessToken, jitter: Jitter) -> Plan {
    let lifetime = token.lifetime().unwrap_or(ASSUMED_LIFETIME);
    if lifetime < SHORTEST_AHEAD {
        return Plan::OnDemand;
    }
    let share = if lifetime < SHORT { 0.5 } else { 0.7 - 0.1 * jitter.0 };
    Plan::At(token.issued_at.after(lifetime.mul_f64(share)))
}

/// Decides how long to wait after a failure. `failures` counts those in a row, this one included.
pub fn backoff(
    failures: u32,
    token_is_alive: bool,
    retry_after: Option<Duration>,
    jitter: Jitter,
) -> Duration {
    let longest = if token_is_alive { MAX_BACKOFF_ALIVE } else { MAX_BACKOFF_EXPIRED };
    let nominal = nominal(failures, longest);
    let jittered = nominal.mul_f64(jitter.0).max(MIN_BACKOFF);
    jittered.max(retry_after.map_or(Duration::ZERO, clamp_retry_after))
}

/// Returns the longest wait after so many failures in a row: it doubles until it is as long as it gets.
fn nominal(failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(1);
    FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
}

/// Returns an issuer's `Retry-After` within the bounds that we honour.
pub fn clamp_retry_after(asked: Duration) -> Duration {
    asked.clamp(RETRY_AFTER.0, RETRY_AFTER.1)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    fn token(lifetime: Option<Duration>) -> AccessToken {
        let issued_at = Clock::system().now().moment;
        AccessToken::new("at".into(), issued_at, lifetime.map(|l| issued_at.after(l))).unwrap()
    }

    proptest! {
        #[test]
        fn a_token_is_due_at_60_to_70_percent_of_its_life_and_a_short_lived_one_at_half_s_1(
            millis in prop_oneof![5_000_u64..200_000, 5_000..90 * 86_400_000_u64],
            some in proptest::array::uniform32(any::<u32>()),
        ) {
            let lifetime = Duration::from_millis(millis);
            let token = token(Some(lifetime));
            // 256 lifetimes, each with 400 random numbers: more than a hundred thousand decisions.
            let evenly = (0..368_u32).map(|step| step * (u32::MAX / 367));
            for bits in some.into_iter().chain(evenly) {
                let plan = plan(&token, Jitter::from_bits(bits));
                match plan {
                    Plan::OnDemand => prop_assert!(lifetime < SHORTEST_AHEAD),
                    Plan::At(at) if lifetime < SHORT => {
                        prop_assert!(lifetime >= SHORTEST_AHEAD);
                        prop_assert_eq!(at, token.issued_at.after(lifetime / 2));
                    }
                    Plan::At(at) => {
                        let share = at.since(token.issued_at).as_secs_f64() / lifetime.as_secs_f64();
                        prop_assert!((0.6 - 1e-9..=0.7 + 1e-9).contains(&share), "{share}");
                    }
                }
            }
        }

        #[test]
        fn no_backoff_is_shorter_than_its_floor_or_longer_than_its_cap(
            failures: u32, alive: bool, bits: u32, retry_after in proptest::option::of(any::<u64>())
        ) {
            let retry_after = retry_after.map(Duration::from_secs);
            let waited = backoff(failures, alive, retry_after, Jitter::from_bits(bits));
            prop_assert!(waited >= MIN_BACKOFF);
            let longest = if retry_after.is_some() { RETRY_AFTER.1 } else { MAX_BACKOFF_EXPIRED };
            prop_assert!(waited <= longest);
            if let Some(asked) = retry_after {
                prop_assert!(waited >= asked.clamp(RETRY_AFTER.0, RETRY_AFTER.1));
            }
        }
    }

    #[test]
    fn a_token_of_unknown_life_is_renewed_within_the_hour() {
        let token = token(None);
        let Plan::At(at) = plan(&token, Jitter::from_bits(0)) else { panic!("not ahead") };
        assert!(at.since(token.issued_at) < ASSUMED_LIFETIME);
    }

    #[test]
    fn the_mean_backoff_of_an_outage_is_honest() {
        for (alive, longest) in [(true, MAX_BACKOFF_ALIVE), (false, MAX_BACKOFF_EXPIRED)] {
            let steps = 1_000_u32;
            let sum: Duration = (0..steps)
                .map(|step| backoff(20, alive, None, Jitter::from_bits(step * (u32::MAX / steps))))
                .sum();
            let share = (sum / steps).as_secs_f64() / longest.as_secs_f64();
            assert!((0.4..0.6).contains(&share), "{share}");
        }
    }

    #[test]
    fn backoff_doubles_until_its_cap() {
        let most = Jitter::from_bits(u32::MAX);
        let seconds: Vec<_> =
            (1..=8).map(|n| backoff(n, true, None, most).as_secs_f64().round() as u32).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn accounts_of_one_issuer_do_not_come_due_together_s_1() {
        let token = token(Some(Duration::from_secs(36_000)));
        let due = |bits| match plan(&token, Jitter::from_bits(bits)) {
            Plan::At(at) => at.since(token.issued_at).as_secs(),
            Plan::OnDemand => panic!("not ahead"),
        };
        assert_eq!((due(0), due(u32::MAX / 2)), (25_200, 23_400));
        assert!(due(u32::MAX) <= 21_600 + 1);
    }

    #[test]
    fn what_the_issuer_asks_us_to_wait_is_waited_within_bounds_s_5() {
        let shortest_wait = |asked| backoff(1, true, Some(Duration::from_secs(asked)), Jitter::from_bits(0));
        for (asked, waited) in [(0, 1), (1, 1), (60, 60), (3600, 3600), (3601, 3600), (u64::MAX, 3600)] {
            assert_eq!(shortest_wait(asked), Duration::from_secs(waited), "{asked}");
        }
        // Nobody is asked sooner than by our own backoff, which is what goes where a Retry-After makes no sense.
        let most = Jitter::from_bits(u32::MAX);
        assert!(backoff(20, false, Some(Duration::from_secs(1)), most) > Duration::from_secs(299));
        assert_eq!(backoff(1, true, None, Jitter::from_bits(0)), MIN_BACKOFF);
    }

    #[test]
    fn eight_hours_of_outage_cost_an_issuer_few_attempts_and_no_wait_is_a_formality_s_2() {
        let (eight_hours, life_left) = (Duration::from_secs(8 * 3600), Duration::from_secs(20 * 60));
        let mut random = 1_u32;
        let mut jitter = || {
            // Numerical Recipes' generator: the same outages each time.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Jitter::from_bits(random)
        };
        let outages = 200_u32;
        let (mut total, mut worst) = (0, 0);
        for _ in 0..outages {
            let (mut passed, mut nominal_passed, mut failures) = (Duration::ZERO, Duration::ZERO, 0);
            while passed < eight_hours {
                failures += 1;
                let is_alive = passed < life_left;
                let longest = if is_alive { MAX_BACKOFF_ALIVE } else { MAX_BACKOFF_EXPIRED };
                nominal_passed += nominal(failures, longest);
                passed += backoff(failures, is_alive, None, jitter());
            }
            let share = passed.as_secs_f64() / nominal_passed.as_secs_f64();
            assert!(share >= 0.4, "the waits were {share} of what they should be");
            (total, worst) = (total + failures, worst.max(failures));
        }
        // Waits of 30 s on average while the token lives, and of 150 s from then on: 40 + 182 and the first few.
        assert!((215..=240).contains(&(total / outages)), "{} attempts on average", total / outages);
        assert!(worst <= 270, "{worst} attempts");
    }
}
