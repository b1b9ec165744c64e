//! When to poll for a device login, and when to stop (RFC 8628 §3.3 to §3.5).
//!
//! Pure: it is told the time and what the last poll brought. The thing to get wrong: the interval never shrinks, and no
//! poll comes sooner than one interval after the one before, nor the first sooner than one after the codes.

use std::time::Duration;

use crate::clock::Moment;
use crate::oauth::error::{Code, Error, Kind, Presented, decides_alone};
use crate::token::failure::Failure;

/// RFC 8628 §3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// What a poll brought, short of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// The person has not answered yet.
    Pending,
    /// We poll too fast.
    SlowDown,
    /// No answer.
    Unreachable,
    /// The issuer, or something before it, is in trouble.
    Troubled {
        /// How long we are asked to wait.
        retry_after: Option<Duration>,
    },
    /// The login is over.
    Ended(Failure),
}

impl From<&Error> for Polled {
    fn from(error: &Error) -> Self {
        let failure = error.classify(Presented::DeviceCode);
        match &error.kind {
            Kind::Transport { .. } => Self::Unreachable,
            Kind::OAuth { refusal, .. } if refusal.code == Code::AuthorizationPending => Self::Pending,
            Kind::OAuth { refusal, .. } if refusal.code == Code::SlowDown => Self::SlowDown,
            // The proof that went along was refused, and the code was not looked at.
            Kind::OAuth { refusal, .. } if refusal.code == Code::UseDpopNonce => failure.into(),
            // RFC 8628 §3.5: after any other error the client must stop.
            Kind::OAuth { status, .. } if !decides_alone(*status) => Self::Ended(failure),
            // The code is spent.
            Kind::KeyBound { .. } => Self::Ended(failure),
            Kind::OAuth { .. }
            | Kind::Status { .. }
            | Kind::Unusable { .. }
            | Kind::Html { .. }
            | Kind::Redirect { .. }
            | Kind::Malformed { .. } => failure.into(),
        }
    }
}

impl From<Failure> for Polled {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Transient { retry_after, .. } => Self::Troubled { retry_after },
            Failure::Ambiguous { .. } => Self::Troubled { retry_after: None },
            Failure::Refused { .. } | Failure::Misconfigured { .. } | Failure::LoginRequired => {
                Self::Ended(failure)
            }
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Poll then.
    PollAt(Moment),
    /// Never poll again.
    Stop(Failure),
}

/// The state of a poll: no more than this survives from one to the next.
#[derive(Clone, Debug)]
pub(crate) struct Poller {
    interval: Duration,
    until: Moment,
}

impl Poller {
    /// Starts with the interval that the issuer asks for.
    pub(crate) fn new(interval: Duration, until: Moment) -> Self {
        Self { interval, until }
    }

    /// Returns the least time between two polls, as it has grown so far.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// Decides when to poll first, the codes having come `now`.
    pub(crate) fn first(&self, now: Moment) -> Decision {
        let at = now.after(self.interval);
        // The code's life began, for us, before the issuer's did: at its very end it is still good.
        if at > self.until { Decision::Stop(expired()) } else { Decision::PollAt(at) }
    }

    /// Decides what follows a poll that ended `now`.
    pub(crate) fn next(&mut self, now: Moment, polled: Polled) -> Decision {
        let left = self.until.since(now);
        let interval = match polled {
            Polled::Pending => self.interval,
            Polled::SlowDown => self.interval.saturating_add(SLOW_DOWN),
            // Not past the end: a last attempt then is better than none.
            Polled::Unreachable => self.interval.saturating_mul(2).min(left),
            Polled::Troubled { retry_after } => retry_after.unwrap_or_default().min(left),
            Polled::Ended(failure) => return Decision::Stop(failure),
        };
        self.interval = self.interval.max(interval);
        self.first(now)
    }
}

fn expired() -> Failure {
    Failure::Refused { message: "the code expired before the login was approved".into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::answer::Answer;
    use crate::oauth::error::Sent;

    const UNASKED: Polled = Polled::Troubled { retry_after: None };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn now() -> Moment {
        Clock::system().now().moment
    }

    /// Returns the gaps that follow these polls, if every poll is answered at once.
    fn gaps(interval: u64, life: u64, script: impl IntoIterator<Item = Polled>) -> Vec<Option<u64>> {
        let mut now = now();
        let mut poller = Poller::new(seconds(interval), now.after(seconds(life)));
        let mut decision = poller.first(now);
        let mut script = script.into_iter();
        let mut gaps = Vec::new();
        loop {
            let Decision::PollAt(at) = decision else {
                gaps.push(None);
                return gaps;
            };
            gaps.push(Some(at.since(now).as_secs()));
            now = at;
            let Some(polled) = script.next() else { return gaps };
            decision = poller.next(now, polled);
        }
    }

    #[test]
    fn slow_down_adds_five_seconds_for_good_8628_2() {
        use Polled::{Pending, SlowDown};
        let script = [SlowDown, Pending, SlowDown, SlowDown, Pending, Pending];
        assert_eq!(gaps(5, 600, script), [5, 10, 10, 15, 20, 20, 20].map(Some));
    }

    #[test]
    fn each_time_without_an_answer_doubles_the_interval_8628_3() {
        use Polled::{Pending, Unreachable};
        let script = [Unreachable, Unreachable, Unreachable, Pending];
        assert_eq!(gaps(15, 600, script), [15, 30, 60, 120, 120].map(Some));
    }

    #[test]
    fn the_last_wait_without_an_answer_ends_with_the_code() {
        let blackhole = || std::iter::repeat_n(Polled::Unreachable, 10);
        // 15 + 30 leave 55 s: a wait of 60 s would miss the end.
        assert_eq!(gaps(15, 100, blackhole()), [Some(15), Some(30), Some(55), None]);
        // 15 + 30 leave 25 s: less than the interval, so there is no poll any more.
        assert_eq!(gaps(15, 70, blackhole()), [Some(15), Some(30), None]);
    }

    #[test]
    fn an_issuer_in_trouble_is_polled_on_and_gets_the_time_it_asks_for() {
        let asked = |wait| Polled::Troubled { retry_after: Some(seconds(wait)) };
        assert_eq!(gaps(5, 600, [UNASKED, asked(2), asked(30), UNASKED]), [5, 5, 5, 30, 30].map(Some));
        assert_eq!(gaps(5, 60, [asked(3600), Polled::Pending]), [Some(5), Some(55), None]);
    }

    #[test]
    fn a_code_that_dies_before_the_first_poll_is_never_polled() {
        assert_eq!(gaps(5, 4, []), [None]);
        assert_eq!(gaps(5, 5, [Polled::Pending]), [Some(5), None]);
    }

    proptest! {
        #[test]
        fn no_gap_is_shorter_than_the_interval_which_never_shrinks(
            interval in 1_u64..100,
            life in 0_u64..5000,
            polls in proptest::collection::vec((0_u8..4, 0_u64..4000, 0_u64..16_000), 1..60),
        ) {
            let mut now = now();
            let until = now.after(seconds(life));
            let mut poller = Poller::new(seconds(interval), until);
            let mut shortest = poller.interval;
            let mut decision = poller.first(now);
            for (kind, wait, took) in polls {
                let Decision::PollAt(at) = decision else { break };
                prop_assert!(at.since(now) >= shortest && at <= until);
                prop_assert!(poller.interval >= shortest);
                shortest = poller.interval;
                now = at.after(Duration::from_millis(took));
                let polled = match kind {
                    0 => Polled::Pending,
                    1 => { shortest += SLOW_DOWN; Polled::SlowDown }
                    2 => Polled::Unreachable,
                    _ => Polled::Troubled { retry_after: Some(seconds(wait)) },
                };
                decision = poller.next(now, polled);
            }
        }
    }

    fn polled(status: u16, body: &str) -> Polled {
        let answer = Answer::plain(status, body);
        let kind = if answer.status.is_success() { answer.unusable("odd") } else { answer.failure() };
        Polled::from(&Error { host: "i".to_owned(), kind })
    }

    fn error(code: &str) -> String {
        format!(r#"{{"error":"{code}"}}"#)
    }

    #[test]
    fn pending_and_slow_down_are_known_on_any_status() {
        // GitHub answers 200; some send 428 or 429 with the code.
        for status in [200, 400, 401, 403, 428, 429, 503] {
            assert_eq!(polled(status, &error("authorization_pending")), Polled::Pending, "{status}");
            assert_eq!(polled(status, &error("slow_down")), Polled::SlowDown, "{status}");
        }
    }

    #[test]
    fn every_other_error_ends_the_login_8628_4() {
        for (code, refused) in [
            ("access_denied", true),
            ("expired_token", true),
            ("invalid_grant", true),
            ("invalid_client", false),
            ("invalid_request", false),
            ("temporarily_unavailable", false),
            ("odd", false),
        ] {
            for status in [400, 401, 403] {
                let Polled::Ended(failure) = polled(status, &error(code)) else { panic!("{status} {code}") };
                assert_eq!(matches!(failure, Failure::Refused { .. }), refused, "{status} {code}");
            }
        }
        for status in [404, 405] {
            assert!(matches!(polled(status, ""), Polled::Ended(Failure::Misconfigured { .. })), "{status}");
        }
    }

    #[test]
    fn trouble_on_the_way_does_not_end_the_login() {
        for (status, body) in [
            (200, "<html>"),
            (200, "{"),
            (302, ""),
            (403, "<html>"),
            (403, ""),
            (429, ""),
            (500, "oh"),
            (503, r#"{"error":"temporarily_unavailable"}"#),
            (400, r#"{"error":"use_dpop_nonce"}"#),
            (401, r#"{"error":"use_dpop_nonce"}"#),
            (503, r#"{"error":"invalid_grant"}"#),
        ] {
            assert_eq!(polled(status, body), UNASKED, "{status} {body}");
        }
        for sent in [Sent::No, Sent::Maybe] {
            let kind = Kind::Transport { sent, cause: "down".to_owned() };
            assert_eq!(Polled::from(&Error { host: "i".to_owned(), kind }), Polled::Unreachable);
        }
    }
}
