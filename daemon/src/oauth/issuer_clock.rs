//! What the clocks of issuers show, by the `Date` of their answers (RFC 9110 §6.6.1).
//!
//! An assertion or a proof that is signed by a wrong clock is refused. Nothing else goes by what is heard here: no lifetime
//! does. It is counted on by the boot clock, so that it still holds when our wall clock is set. The thing to get wrong:
//! whoever can write a `Date` chooses the time that we sign for, so it counts only where TLS says whose it is, and within
//! a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use jiff::fmt::rfc2822;

use crate::clock::Now;
use crate::oauth::EndpointUrl;

/// A smaller difference is that of the way there: an assertion lives longer.
const LEAST: SignedDuration = SignedDuration::from_secs(30);

/// A larger one is told to whoever reads the log: their clock is off, or the issuer's.
const REMARKABLE: SignedDuration = SignedDuration::from_secs(60);

/// A larger one is no clock that is off: a time zone that was set wrong is hours.
const MOST: SignedDuration = SignedDuration::from_hours(24);

/// Endpoints of an account are at one origin or two. More are remembered than anybody configures.
const MOST_ORIGINS: usize = 64;

/// The clocks of issuers. Clones share what was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssuerClocks(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// What each showed, and when that was, by origin.
    shown: BTreeMap<String, Now>,
    /// The origins whose clocks were remarked on.
    remarked: BTreeSet<String>,
}

impl IssuerClocks {
    /// Takes in the `Date` of an answer to a request that was `sent` then.
    pub(crate) fn hear(&self, endpoint: &EndpointUrl, date: &str, sent: Now) {
        let Ok(date) = rfc2822::parse(date) else { return };
        if endpoint.url().scheme() != "https" {
            return;
        }
        let (shown, origin) = (Now { wall: date.timestamp(), ..sent }, endpoint.origin());
        let ahead = shown.wall.duration_since(sent.wall);
        let mut heard = self.heard();
        if ahead.abs() > REMARKABLE && heard.is_first_remark(&origin) {
            tracing::warn!(%origin, seconds = ahead.as_secs(), "the issuer's clock is ahead of ours, or behind where negative");
        }
        if heard.shown.len() < MOST_ORIGINS || heard.shown.contains_key(&origin) {
            heard.shown.insert(origin, shown);
        }
    }

    /// Returns the time by the clock of an endpoint's host, where that is known and believable.
    pub(crate) fn at(&self, endpoint: &EndpointUrl, now: Now) -> Now {
        let shown = self.heard().shown.get(&endpoint.origin()).copied();
        let theirs = shown.map_or(now.wall, |shown| shown.wall_at(now.moment));
        let is_believable = (LEAST..=MOST).contains(&theirs.duration_since(now.wall).abs());
        Now { wall: if is_believable { theirs } else { now.wall }, ..now }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn is_first_remark(&mut self, origin: &str) -> bool {
        self.remarked.len() < MOST_ORIGINS && self.remarked.insert(origin.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::LoopbackHttp;

    #[test]
    fn the_time_is_the_issuers_where_it_is_known_and_believable_7523_1() {
        let endpoint = |url| EndpointUrl::parse(url, LoopbackHttp::Allowed).unwrap();
        let (issuer, loopback) = (endpoint("https://i/token"), endpoint("http://127.0.0.1/token"));
        let clocks = IssuerClocks::default();
        let now = Now { wall: "2026-11-21T12:00:00Z".parse().unwrap(), ..Clock::system().now() };
        let heard = |endpoint, date| {
            clocks.hear(endpoint, date, now);
            clocks.at(endpoint, now).wall.to_string()
        };
        for (date, expected) in [
            ("Sat, 21 Nov 2026 12:00:29 GMT", "2026-11-21T12:00:00Z"),
            ("Sat, 21 Nov 2026 12:05:00 GMT", "2026-11-21T12:05:00Z"),
            ("Sat, 21 Nov 2026 03:00:00 GMT", "2026-11-21T03:00:00Z"),
            ("soon", "2026-11-21T03:00:00Z"),
            // Nobody's clock is off by this much: what was heard before is not believed any more either.
            ("Sun, 22 Nov 2026 12:00:01 GMT", "2026-11-21T12:00:00Z"),
            ("Mon, 21 Nov 2033 12:00:00 GMT", "2026-11-21T12:00:00Z"),
            ("Sat, 21 Nov 2026 12:05:00 GMT", "2026-11-21T12:05:00Z"),
        ] {
            assert_eq!(heard(&issuer, date), expected, "{date}");
        }
        assert_eq!(heard(&loopback, "Sat, 21 Nov 2026 12:05:00 GMT"), "2026-11-21T12:00:00Z");
        let elsewhere = endpoint("https://j/token");
        assert_eq!(clocks.at(&elsewhere, now).wall, now.wall);
        assert_eq!(clocks.at(&endpoint("https://i/other"), now).wall.to_string(), "2026-11-21T12:05:00Z");
    }

    #[test]
    fn when_our_clock_is_set_the_issuers_goes_on_as_before_s_6() {
        let endpoint = EndpointUrl::parse("https://i/token", LoopbackHttp::Refused).unwrap();
        let start = Clock::system().now().moment;
        let by_our_clock = |wall: &str, later: u64| Now {
            moment: start.after(Duration::from_secs(later)),
            wall: wall.parse().unwrap(),
        };
        for heard_at in ["2026-11-21T11:55:00Z", "2026-11-21T12:00:00Z", "2026-11-21T15:00:00Z"] {
            let clocks = IssuerClocks::default();
            clocks.hear(&endpoint, "Sat, 21 Nov 2026 12:00:00 GMT", by_our_clock(heard_at, 0));
            for (set_to, expected) in [
                ("2026-11-21T12:10:00Z", "2026-11-21T12:10:00Z"),
                ("2026-11-21T12:10:20Z", "2026-11-21T12:10:20Z"),
                ("2026-11-21T13:10:00Z", "2026-11-21T12:10:00Z"),
                ("2026-11-21T12:05:00Z", "2026-11-21T12:10:00Z"),
                // Nobody's clock is off by this much.
                ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ] {
                let signed_for = clocks.at(&endpoint, by_our_clock(set_to, 600)).wall;
                assert_eq!(signed_for.to_string(), expected, "heard at {heard_at}, set to {set_to}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_off_is_remarked_on_once_per_origin() {
        let endpoint = |url| EndpointUrl::parse(url, LoopbackHttp::Refused).unwrap();
        let clocks = IssuerClocks::default();
        let now = Now { wall: "2026-11-21T12:00:00Z".parse().unwrap(), ..Clock::system().now() };
        let remarks = |url, date| {
            clocks.hear(&endpoint(url), date, now);
            clocks.heard().remarked.len()
        };
        assert_eq!(remarks("https://i/token", "Sat, 21 Nov 2026 12:01:00 GMT"), 0);
        assert_eq!(remarks("https://i/token", "Sat, 21 Nov 2026 12:01:01 GMT"), 1);
        assert_eq!(remarks("https://i/other", "Sat, 21 Nov 2026 11:00:00 GMT"), 1);
        assert_eq!(remarks("https://j/token", "Fri, 21 Nov 2025 12:00:00 GMT"), 2);
        assert!(!clocks.heard().is_first_remark("https://i") && !clocks.heard().is_first_remark("https://j"));
    }
}
