//! How far the clocks of issuers are from ours, by the `Date` of their answers (RFC 9110 §6.6.1).
//!
//! An assertion that is signed by a wrong clock is refused. The thing to get wrong: whoever can write a `Date` chooses
//! the time that we sign for, so it counts only where TLS says whose it is, and within a bound.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Now;
use crate::oauth::EndpointUrl;

/// A smaller difference is that of the way there: an assertion lives longer.
const LEAST: SignedDuration = SignedDuration::from_secs(30);

/// A larger one is no clock that is off: a time zone that was set wrong is hours.
const MOST: SignedDuration = SignedDuration::from_hours(24);

/// Endpoints of an account are at one origin or two. More are remembered than anybody configures.
const MOST_ORIGINS: usize = 64;

/// The clocks of issuers. Clones share what was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct IssuerClocks(Arc<Mutex<BTreeMap<String, SignedDuration>>>);

impl IssuerClocks {
    /// Takes in the `Date` of an answer to a request that was sent at `wall`.
    pub(crate) fn hear(&self, endpoint: &EndpointUrl, date: &str, wall: Timestamp) {
        let Ok(date) = rfc2822::parse(date) else { return };
        if endpoint.url().scheme() != "https" {
            return;
        }
        let ahead = date.timestamp().duration_since(wall);
        let mut known = self.known();
        if !(LEAST..=MOST).contains(&ahead.abs()) {
            known.remove(&endpoint.origin());
        } else if known.len() < MOST_ORIGINS {
            known.insert(endpoint.origin(), ahead);
        }
    }

    /// Returns the time by the clock of an endpoint's host.
    pub(crate) fn at(&self, endpoint: &EndpointUrl, now: Now) -> Now {
        let ahead = self.known().get(&endpoint.origin()).copied().unwrap_or_default();
        Now { wall: now.wall.saturating_add(ahead).unwrap_or(now.wall), ..now }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, SignedDuration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
            clocks.hear(endpoint, date, now.wall);
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
}
