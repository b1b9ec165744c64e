//! When to renew, and how long to wait after a failure: pure functions of times and one random number.
//!
//! Two mistakes of the field are ruled out here. A margin in seconds makes short-lived tokens due on arrival, for
//! ever: so the margin is a share of the lifetime. A backoff that can be zero turns an outage into a storm: so there
//! is a floor.

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
    let nominal = Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let jittered = nominal.mul_f64(jitter.0).max(MIN_BACKOFF);
    jittered.max(retry_after.map_or(Duration::ZERO, clamp_retry_after))
}

/// Returns an issuer's `Retry-After` within the bounds that we honour.
pub fn clamp_retry_after(asked: Duration) -> Duration {
    asked.clamp(RETRY_AFTER.0, RETRY_AFTER.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    fn token(lifetime: Option<Duration>) -> AccessToken {
        let issued_at = Clock::system().now().moment;
        AccessToken::new("at".into(), issued_at, lifetime.map(|l| issued_at.after(l))).unwrap()
    }

    proptest! {
        #[test]
        fn a_token_is_due_at_60_to_70_percent_of_its_life(seconds in 120_u64..90 * 86_400, bits: u32) {
            let token = token(Some(Duration::from_secs(seconds)));
            let Plan::At(at) = plan(&token, Jitter::from_bits(bits)) else { panic!("not ahead") };
            let share = at.since(token.issued_at).as_secs_f64() / Duration::from_secs(seconds).as_secs_f64();
            prop_assert!((0.6..=0.7).contains(&share), "{share}");
        }

        #[test]
        fn a_short_lived_token_is_due_at_half_its_life(seconds in 20_u64..120, bits: u32) {
            let token = token(Some(Duration::from_secs(seconds)));
            let half = token.issued_at.after(Duration::from_secs(seconds) / 2);
            prop_assert_eq!(plan(&token, Jitter::from_bits(bits)), Plan::At(half));
        }

        #[test]
        fn a_very_short_lived_token_is_never_renewed_ahead(millis in 0_u64..20_000, bits: u32) {
            let token = token(Some(Duration::from_millis(millis)));
            prop_assert_eq!(plan(&token, Jitter::from_bits(bits)), Plan::OnDemand);
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
}
