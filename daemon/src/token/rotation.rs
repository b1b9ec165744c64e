//! What to do about a refresh token that may have been spent: its request left, and no answer came back.
//!
//! Either the issuer never saw it, and it is as good as before; or it was replaced, and its successor is lost for ever.
//! Nobody here can tell. The thing to get wrong: an issuer that watches for replays takes one presentation too many for a
//! theft, and ends the login with all its tokens, so they are counted, across restarts too.

use std::time::Duration;

use crate::clock::Moment;
use crate::token::{AccessToken, RefreshToken, schedule};

/// How often a refresh token is presented without anybody asking for it, the first time included: once more than that
/// is right where the issuer never saw it, and where it forgives; a third time helps nobody whom the second did not.
pub const MOST_BY_ITSELF: u32 = 2;

/// How often it is presented by itself within a grace that the settings state: the issuer has said that it does not mind,
/// and a daemon that keeps crashing must not give a login up over it. A request that fails so often has other trouble.
const MOST_IN_GRACE: u32 = 10;

/// How soon it is presented again where that is not held against us: within the grace of every issuer that has one, and
/// long enough for a connection that was reset to be another one. Counted from the first time, so that a daemon that is
/// killed all the time does not put it off for ever; each time after that waits as long once more.
const RETRY: Duration = Duration::from_secs(1);

/// How long before the end of a grace nothing is presented any more: a request takes its time to get there.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

/// How long before the access token ends an issuer that ends logins over a replay is asked again: until then there is
/// something to lose, and after that somebody would wait.
pub const LAST_MINUTE: Duration = Duration::from_secs(30);

/// After so many renewals that left a refresh token in force, it is taken for one that is not replaced.
const CONVINCING_USES: u32 = 2;

/// What an issuer does with a refresh token that is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nobody said, and it has not shown.
    #[default]
    Unknown,
    /// It stays good: presenting it again is what every renewal does.
    None,
    /// It is replaced, and taken for this long after that all the same.
    Grace(Duration),
    /// It is replaced, and whoever presents it again ends the login.
    Strict,
}

impl Profile {
    /// Returns how often a refresh token is presented at all: once more than by itself, when the person is there anyway, in
    /// place of a login.
    #[must_use]
    pub fn most_ever(self) -> u32 {
        let by_itself = match self {
            Self::Grace(_) => MOST_IN_GRACE,
            Self::Unknown | Self::None | Self::Strict => MOST_BY_ITSELF,
        };
        by_itself.saturating_add(1)
    }

    /// Returns what is known about a refresh token: what the settings say, or else what it has shown.
    #[must_use]
    pub fn learned(self, refresh: Option<&RefreshToken>) -> Self {
        match (self, refresh) {
            (Self::Unknown, Some(refresh)) if refresh.uses >= CONVINCING_USES => Self::None,
            (said, _) => said,
        }
    }
}

/// What is known of a refresh token that may have been spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How often it was presented with an outcome that nobody knows.
    pub presentations: u32,
    /// When that happened first.
    pub since: Moment,
}

impl Doubt {
    /// Returns what will be known if the presentation that is about to be made has no outcome either.
    pub fn after(earlier: Option<Self>, now: Moment) -> Self {
        match earlier {
            Some(Self { presentations, since }) => {
                Self { presentations: presentations.saturating_add(1), since }
            }
            None => Self { presentations: 1, since: now },
        }
    }
}

/// What helps a refresh token that is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is lost by presenting it whenever there is reason to.
    Carefree,
    /// Presenting it once more, at this moment and not before.
    RetryAt(Moment),
    /// Nothing but a login: it is presented once more when a person asks for one, and then no more.
    Login,
}

/// Decides what to do about a refresh token in doubt. `access` is the token that is still served.
pub fn remedy(profile: Profile, doubt: Doubt, access: &AccessToken, now: Moment) -> Remedy {
    let soon = doubt.since.after(RETRY.saturating_mul(doubt.presentations)).max(now);
    match profile {
        Profile::None => Remedy::Carefree,
        // The issuer has said that this is forgiven, however often.
        Profile::Grace(grace)
            if doubt.presentations < MOST_IN_GRACE
                && soon.after(GRACE_MARGIN) <= doubt.since.after(grace) =>
        {
            Remedy::RetryAt(soon)
        }
        _ if doubt.presentations >= MOST_BY_ITSELF => Remedy::Login,
        Profile::Unknown => Remedy::RetryAt(soon),
        Profile::Grace(_) | Profile::Strict => {
            let end = access.expires_at.unwrap_or(access.issued_at.after(schedule::ASSUMED_LIFETIME));
            Remedy::RetryAt(end.before(LAST_MINUTE).max(now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const HOUR: Duration = Duration::from_secs(3600);

    fn world() -> (Moment, AccessToken) {
        let now = Clock::system().now().moment;
        (now, AccessToken::new("at".into(), now, Some(now.after(HOUR))).unwrap())
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn where_a_replay_is_forgiven_the_token_is_presented_again_at_once() {
        let (start, access) = world();
        let doubt = Doubt::after(None, start);
        for profile in [Profile::Unknown, Profile::Grace(seconds(10))] {
            let Remedy::RetryAt(at) = remedy(profile, doubt, &access, start) else { panic!("{profile:?}") };
            assert!(at.since(start) <= seconds(2), "{profile:?}");
        }
    }

    #[test]
    fn where_a_replay_ends_the_login_the_token_is_kept_back_until_the_access_token_ends() {
        let (start, access) = world();
        let doubt = Doubt::after(None, start);
        let last_minute = Remedy::RetryAt(start.after(HOUR - seconds(30)));
        assert_eq!(remedy(Profile::Strict, doubt, &access, start.after(seconds(60))), last_minute);
        let late = start.after(HOUR * 2);
        assert_eq!(remedy(Profile::Strict, doubt, &access, late), Remedy::RetryAt(late));
    }

    #[test]
    fn a_grace_that_is_over_is_none() {
        let (start, access) = world();
        let doubt = Doubt::after(None, start);
        let grace = Profile::Grace(seconds(10));
        for (passed, is_forgiven) in [(0, true), (9, true), (10, false), (15, false)] {
            let now = start.after(seconds(passed));
            let Remedy::RetryAt(at) = remedy(grace, doubt, &access, now) else { panic!("after {passed} s") };
            assert_eq!(at.since(now) <= seconds(2), is_forgiven, "after {passed} s");
        }
    }

    #[test]
    fn nobody_presents_a_token_a_third_time_by_himself() {
        let (start, access) = world();
        let twice = Doubt::after(Some(Doubt::after(None, start)), start.after(seconds(1)));
        assert_eq!(twice, Doubt { presentations: 2, since: start });
        for profile in [Profile::Unknown, Profile::Grace(seconds(2)), Profile::Strict] {
            assert_eq!(remedy(profile, twice, &access, start.after(seconds(2))), Remedy::Login);
        }
    }

    #[test]
    fn within_a_grace_that_the_settings_state_a_token_is_presented_as_often_as_it_takes() {
        let (start, access) = world();
        for presentations in 1..9 {
            let doubt = Doubt { presentations, since: start };
            let at = start.after(seconds(u64::from(presentations)));
            assert_eq!(remedy(Profile::Grace(seconds(10)), doubt, &access, start), Remedy::RetryAt(at));
        }
        let over = Doubt { presentations: 9, since: start };
        assert_eq!(remedy(Profile::Grace(seconds(9)), over, &access, start), Remedy::Login);
        let too_often = Doubt { presentations: MOST_IN_GRACE, since: start };
        assert_eq!(remedy(Profile::Grace(HOUR), too_often, &access, start), Remedy::Login);
    }

    #[test]
    fn a_retry_is_not_put_off_by_looking_again() {
        let (start, access) = world();
        let doubt = Doubt::after(None, start);
        for passed in [0, 1, 5] {
            let now = start.after(seconds(passed));
            let at = start.after(seconds(passed.max(1)));
            assert_eq!(
                remedy(Profile::Unknown, doubt, &access, now),
                Remedy::RetryAt(at),
                "after {passed} s"
            );
        }
    }

    #[test]
    fn a_token_that_is_never_replaced_is_never_in_doubt() {
        let (start, access) = world();
        let often = Doubt { presentations: u32::MAX, since: start };
        assert_eq!(remedy(Profile::None, often, &access, start), Remedy::Carefree);
        assert_eq!(Doubt::after(Some(often), start).presentations, u32::MAX);
    }

    #[test]
    fn two_renewals_that_leave_a_token_in_force_show_that_it_is_not_replaced() {
        let mut refresh = RefreshToken::new("rt".into(), "https://i".to_owned());
        assert_eq!(Profile::Unknown.learned(None), Profile::Unknown);
        for (uses, expected) in [(0, Profile::Unknown), (1, Profile::Unknown), (2, Profile::None)] {
            refresh.uses = uses;
            assert_eq!(Profile::Unknown.learned(Some(&refresh)), expected);
            assert_eq!(Profile::Strict.learned(Some(&refresh)), Profile::Strict, "what is said wins");
        }
    }
}
