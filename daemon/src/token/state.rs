//! What an account holds and how its renewal goes, as two separate fields, with every decision a function of `now`.
//!
//! [`Renewal`] cannot touch what is held, so a failed renewal cannot displace a token that works. Only
//! [`Failure::Refused`] ends a login, and even then the access token is served to its end. There is one such state for
//! the account's own target, and one for every other target that clients ask for.

mod doubt;
mod fresh_start;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::token::failure::Failure;
use crate::token::need::{Need, TokenKind, is_alive, suffices};
use crate::token::rotation::Doubt;
use crate::token::schedule::{self, Jitter, Plan};
use crate::token::{RefreshToken, TokenSet};

/// What an account holds and how its renewal goes.
#[derive(Clone, Debug)]
pub struct TokenState {
    means: Means,
    held: Held,
    renewal: Renewal,
    trouble: Option<Failure>,
    id_token: Promise,
    /// Whether the refresh token may have been spent.
    doubt: Option<Doubt>,
}

/// Whether a renewal may bring an ID token that lives longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// It may, or nothing is known.
    Open,
    /// The issuer's latest answer brought none, so another would be asked for in vain.
    Broken,
}

/// What tokens can be obtained with, where no refresh token is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The grant itself: it needs no person.
    Grant,
    /// Nothing but a login by a person.
    Login,
}

/// What an account holds.
#[derive(Clone, Debug)]
pub enum Held {
    /// Nothing.
    SignedOut(SignedOut),
    /// Tokens. The access token among them may have expired.
    SignedIn(Arc<TokenSet>),
}

/// Why nothing is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedOut {
    /// Nobody has signed in.
    Never,
    /// The user logged out.
    ByUser,
    /// The issuer refused the refresh token.
    Refused,
    /// The access token expired, and the issuer gave no refresh token with it.
    Expired,
    /// The answer to a renewal got lost, and with it the refresh token that it may have held.
    AmbiguousRotation,
}

/// How the renewal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It starts by itself.
    Due {
        /// When.
        at: Moment,
        /// From when on a client that waits can pull it forward.
        pull_from: Moment,
        /// Failed attempts in a row so far.
        failures: u32,
    },
    /// It starts when a client asks.
    OnDemand {
        /// From when on.
        from: Moment,
        /// Failed attempts in a row so far.
        failures: u32,
    },
    /// An attempt is under way.
    InFlight {
        /// Failed attempts in a row before it.
        failures: u32,
    },
    /// There is nothing to renew with. When the access token has expired, the account is signed out for this reason.
    Impossible {
        /// The reason.
        then: SignedOut,
    },
}

/// What to do about a client that wants a token.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Give it this one.
    Serve(Arc<TokenSet>),
    /// Give it this one, which is not what it asked for but works; nothing better can be had now.
    ServeStale(Arc<TokenSet>, Unavailable),
    /// Start an attempt and let it wait for the outcome.
    Renew,
    /// Let it wait for the outcome of the attempt that is under way.
    Wait,
    /// There is none.
    Fail(Unavailable),
}

/// Why there is no token, or none that is fresh enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// A person must log in.
    LoginRequired(SignedOut),
    /// The latest attempt failed, and the next one is not yet.
    Failed {
        /// How it failed.
        failure: Failure,
        /// When the next attempt can be made.
        retry_at: Moment,
    },
    /// The attempt that is under way takes longer than the client can wait.
    Renewing,
    /// A token was obtained a moment ago and does not live as long as asked; another can be had then.
    TooSoon {
        /// When.
        retry_at: Moment,
    },
    /// The issuer gives no ID token, or none that lives on.
    NoIdToken,
}

impl TokenState {
    /// Returns the state of an account that holds nothing.
    pub fn signed_out(means: Means, because: SignedOut, now: Moment) -> Self {
        let renewal = match means {
            Means::Grant => Renewal::OnDemand { from: now, failures: 0 },
            Means::Login => Renewal::Impossible { then: because },
        };
        Self {
            means,
            held: Held::SignedOut(because),
            renewal,
            trouble: None,
            id_token: Promise::Open,
            doubt: None,
        }
    }

    /// Returns the state of an account that holds tokens, obtained just now or read from the store.
    pub fn signed_in(means: Means, tokens: TokenSet, jitter: Jitter) -> Self {
        let renewal = if means == Means::Login && tokens.refresh.is_none() {
            Renewal::Impossible { then: SignedOut::Expired }
        } else {
            let earliest = tokens.access.issued_at.after(schedule::MIN_GAP);
            match schedule::plan(&tokens.access, jitter) {
                Plan::At(at) => Renewal::Due { at, pull_from: earliest, failures: 0 },
                Plan::OnDemand => Renewal::OnDemand { from: earliest, failures: 0 },
            }
        };
        let id_token = if tokens.id.is_some() { Promise::Open } else { Promise::Broken };
        Self { means, held: Held::SignedIn(Arc::new(tokens)), renewal, trouble: None, id_token, doubt: None }
    }

    /// Returns the state after a renewal. An ID token that the answer lacks is the earlier one, as long as it lives, and
    /// a scope that it does not name is the one that was granted (RFC 6749 §6).
    pub fn renewed(&self, mut tokens: TokenSet, now: Moment, jitter: Jitter) -> Self {
        let promise = if tokens.id.is_some() { Promise::Open } else { Promise::Broken };
        if let Held::SignedIn(earlier) = &self.held {
            tokens.id =
                tokens.id.or_else(|| earlier.id.clone().filter(|id| id.lives_for(Duration::ZERO, now)));
            tokens.subject = tokens.subject.or_else(|| earlier.subject.clone());
            if tokens.scope.is_empty() {
                tokens.scope = earlier.scope.clone();
            }
        }
        Self { id_token: promise, ..Self::signed_in(self.means, tokens, jitter) }
    }

    /// Takes over the refresh token that a renewal for another target brought in place of the one it was made with.
    /// The access token stays: a narrower one never takes its place.
    pub fn rotate(&mut self, refresh: RefreshToken) {
        self.doubt = None;
        if let Held::SignedIn(tokens) = &mut self.held {
            Arc::make_mut(tokens).refresh = Some(refresh);
        }
    }

    /// Returns what there is to renew with, if anything is.
    pub fn refresh_token(&self) -> Option<RefreshToken> {
        match (&self.held, self.renewal) {
            (Held::SignedOut(_), _) | (_, Renewal::Impossible { .. }) => None,
            (Held::SignedIn(tokens), _) => tokens.refresh.clone(),
        }
    }

    /// Returns a renewal's tokens without an ID token that is about somebody else than those of the login so far
    /// (OpenID Connect Core §12.2), or nothing where there is none such.
    pub fn without_id_of_another(&self, tokens: &TokenSet) -> Option<TokenSet> {
        match &self.held {
            // The tokens beside it stay: the new refresh token may be the only one that works.
            Held::SignedIn(earlier) if tokens.is_about_another(earlier) => {
                Some(TokenSet { id: None, subject: None, ..tokens.clone() })
            }
            Held::SignedIn(_) | Held::SignedOut(_) => None,
        }
    }

    /// Returns what is held at a moment: a login that could not be renewed is over when its access token has expired.
    pub fn held(&self, now: Moment) -> Held {
        match (&self.held, self.renewal) {
            (Held::SignedIn(tokens), Renewal::Impossible { then }) if !tokens.access.is_alive(now) => {
                Held::SignedOut(then)
            }
            (held, _) => held.clone(),
        }
    }

    /// Returns what tokens can be obtained with.
    pub fn means(&self) -> Means {
        self.means
    }

    /// Returns how the renewal goes.
    pub fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// Returns the latest failure that no success has followed.
    pub fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// Returns when the next attempt starts by itself.
    pub fn starts_at(&self) -> Option<Moment> {
        match self.renewal {
            Renewal::Due { at, .. } => Some(at),
            Renewal::OnDemand { .. } | Renewal::InFlight { .. } | Renewal::Impossible { .. } => None,
        }
    }

    /// Tells whether an attempt can start now because somebody asks.
    pub fn can_start(&self, now: Moment) -> bool {
        match self.renewal {
            Renewal::Due { pull_from: from, .. } | Renewal::OnDemand { from, .. } => now >= from,
            Renewal::InFlight { .. } | Renewal::Impossible { .. } => false,
        }
    }

    /// Tells whether an attempt is under way.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.renewal, Renewal::InFlight { .. })
    }

    /// Decides about a client that wants a token.
    pub fn answer(&self, now: Moment, need: Need) -> Answer {
        if let Held::SignedIn(tokens) = &self.held
            && suffices(tokens, need, now)
        {
            return Answer::Serve(Arc::clone(tokens));
        }
        if need.kind == TokenKind::Id && self.lacks_id_token(now) {
            return self.settled(now, need.kind);
        }
        match self.renewal {
            Renewal::InFlight { .. } => Answer::Wait,
            Renewal::Due { .. } | Renewal::OnDemand { .. } if self.can_start(now) => Answer::Renew,
            Renewal::Due { .. } | Renewal::OnDemand { .. } | Renewal::Impossible { .. } => {
                self.settled(now, need.kind)
            }
        }
    }

    /// Decides about a client without another attempt: with what there is.
    pub fn settled(&self, now: Moment, kind: TokenKind) -> Answer {
        let unavailable = match self.renewal {
            Renewal::Due { .. }
            | Renewal::OnDemand { .. }
            | Renewal::InFlight { .. }
            | Renewal::Impossible { .. }
                if kind == TokenKind::Id && self.lacks_id_token(now) =>
            {
                Unavailable::NoIdToken
            }
            Renewal::Impossible { then } => Unavailable::LoginRequired(then),
            Renewal::Due { pull_from: retry_at, .. } | Renewal::OnDemand { from: retry_at, .. } => {
                match &self.trouble {
                    Some(failure) => Unavailable::Failed { failure: failure.clone(), retry_at },
                    None => Unavailable::TooSoon { retry_at },
                }
            }
            Renewal::InFlight { .. } => Unavailable::Renewing,
        };
        match &self.held {
            Held::SignedIn(tokens) if is_alive(tokens, kind, now) => {
                Answer::ServeStale(Arc::clone(tokens), unavailable)
            }
            Held::SignedIn(_) | Held::SignedOut(_) => Answer::Fail(unavailable),
        }
    }

    /// Tells whether there is an access token that works, but no ID token and no prospect of one.
    fn lacks_id_token(&self, now: Moment) -> bool {
        let is_hopeless =
            self.id_token == Promise::Broken || matches!(self.renewal, Renewal::Impossible { .. });
        matches!(&self.held, Held::SignedIn(tokens) if is_hopeless && tokens.access.is_alive(now))
    }

    /// Notes that an attempt has begun, and returns the refresh token to make it with.
    pub fn begin(&mut self) -> Option<RefreshToken> {
        let refresh = self.refresh_token();
        self.renewal = Renewal::InFlight { failures: self.failures() };
        refresh
    }

    /// Takes in how an attempt failed.
    pub fn fail(&mut self, failure: Failure, now: Moment, jitter: Jitter) {
        let failures = self.failures().saturating_add(1);
        let is_alive = matches!(&self.held, Held::SignedIn(tokens) if tokens.access.is_alive(now));
        self.renewal = match &failure {
            Failure::Transient { .. } | Failure::Ambiguous { .. } => {
                let retry_after = failure.retry_after();
                let pull_from = now.after(
                    retry_after
                        .map_or(schedule::PULL_GAP, schedule::clamp_retry_after)
                        .max(schedule::PULL_GAP),
                );
                let at = now.after(schedule::backoff(failures, is_alive, retry_after, jitter));
                match self.held {
                    Held::SignedIn(_) => Renewal::Due { at, pull_from, failures },
                    Held::SignedOut(_) => Renewal::OnDemand { from: pull_from, failures },
                }
            }
            Failure::Refused { .. } | Failure::LoginRequired if self.means == Means::Login => {
                let then = match self.doubt.take() {
                    // It was good before its request got lost: its successor went with the answer.
                    Some(_) => SignedOut::AmbiguousRotation,
                    None => SignedOut::Refused,
                };
                self.forget_refresh_token();
                Renewal::Impossible { then }
            }
            Failure::Refused { .. } | Failure::LoginRequired | Failure::Misconfigured { .. } => {
                let at = now.after(schedule::MISCONFIGURED_GAP);
                Renewal::Due { at, pull_from: now.after(schedule::MISCONFIGURED_PULL_GAP), failures }
            }
        };
        self.trouble = Some(failure);
    }

    /// Makes an attempt possible at once: the settings, or the world, have changed.
    pub fn hasten(&mut self, now: Moment) {
        if self.doubt.is_some() {
            return;
        }
        match &mut self.renewal {
            Renewal::Due { at, pull_from, failures } if *failures > 0 => {
                *at = now;
                *pull_from = now;
            }
            Renewal::OnDemand { from, failures } if *failures > 0 => *from = now,
            Renewal::Due { .. }
            | Renewal::OnDemand { .. }
            | Renewal::InFlight { .. }
            | Renewal::Impossible { .. } => {}
        }
    }

    fn forget_refresh_token(&mut self) {
        if let Held::SignedIn(tokens) = &mut self.held {
            Arc::make_mut(tokens).refresh = None;
        }
    }

    fn failures(&self) -> u32 {
        match self.renewal {
            Renewal::Due { failures, .. }
            | Renewal::OnDemand { failures, .. }
            | Renewal::InFlight { failures } => failures,
            Renewal::Impossible { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::token::{AccessToken, Scope};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Moment {
        static START: std::sync::OnceLock<Moment> = std::sync::OnceLock::new();
        START.get_or_init(|| Clock::system().now().moment).after(Duration::from_secs(seconds))
    }

    fn tokens(name: &str, issued: u64, lifetime: u64, refresh: bool) -> TokenSet {
        let access = AccessToken::new(name.into(), at(issued), Some(at(issued + lifetime))).unwrap();
        let refresh = refresh.then(|| RefreshToken::new("rt".into(), "https://i".to_owned()));
        TokenSet { refresh, ..TokenSet::of(access) }
    }

    fn signed_in(lifetime: u64) -> TokenState {
        TokenState::signed_in(Means::Login, tokens("one", 0, lifetime, true), no_jitter())
    }

    fn no_jitter() -> Jitter {
        Jitter::from_bits(0)
    }

    fn refused() -> Failure {
        Failure::Refused { message: "invalid_grant".into() }
    }

    fn living(min_ttl: Duration) -> Need {
        Need { min_ttl: Some(min_ttl), ..Need::default() }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_renewal_that_names_no_scope_leaves_what_was_granted_6749_5() {
        let granted = |scope: &str| TokenSet { scope: Scope::parse(scope), ..tokens("one", 0, 3600, true) };
        let state = TokenState::signed_in(Means::Login, granted("read"), no_jitter());
        for (answered, expected) in [("", "read"), ("less", "less")] {
            let renewed = state.renewed(granted(answered), at(10), no_jitter());
            let Held::SignedIn(held) = renewed.held(at(10)) else { panic!("signed out") };
            assert_eq!(held.scope, Scope::parse(expected));
        }
    }

    #[test]
    fn a_failed_renewal_never_displaces_a_token_that_still_works() {
        for failure in [Failure::transient("outage"), refused(), Failure::misconfigured("invalid_client")] {
            let mut state = signed_in(3600);
            state.begin();
            state.fail(failure, at(2520), no_jitter());
            assert!(matches!(state.answer(at(2521), Need::default()), Answer::Serve(_)));
            assert!(matches!(
                state.answer(at(3599), Need::default()),
                Answer::ServeStale(..) | Answer::Renew
            ));
            assert!(matches!(state.settled(at(3599), TokenKind::Access), Answer::ServeStale(..)));
        }
    }

    #[test]
    fn only_a_refusal_ends_a_login_and_only_when_the_token_has_expired() {
        let mut state = signed_in(3600);
        state.begin();
        state.fail(refused(), at(2520), no_jitter());
        assert_eq!(state.starts_at(), None);
        assert!(matches!(state.held(at(3599)), Held::SignedIn(_)));
        assert!(matches!(state.held(at(3600)), Held::SignedOut(SignedOut::Refused)));
        let Answer::Fail(why) = state.answer(at(3600), Need::default()) else {
            panic!("an expired token was served")
        };
        assert_eq!(why, Unavailable::LoginRequired(SignedOut::Refused));

        for failure in [Failure::transient("outage"), Failure::misconfigured("invalid_client")] {
            let mut state = signed_in(3600);
            state.begin();
            state.fail(failure, at(3601), no_jitter());
            assert!(matches!(state.held(at(1_000_000)), Held::SignedIn(_)));
            assert!(state.begin().is_some(), "the refresh token was lost");
        }
    }

    #[test]
    fn a_refused_refresh_token_is_not_presented_again() {
        let mut state = signed_in(3600);
        state.begin();
        state.fail(refused(), at(2520), no_jitter());
        assert!(matches!(state.renewal(), Renewal::Impossible { .. }));
        assert!(matches!(state.held(at(2521)), Held::SignedIn(tokens) if tokens.refresh.is_none()));
    }

    #[test]
    fn a_client_can_ask_for_more_life_but_not_for_more_than_there_is() {
        let state = signed_in(3600);
        assert!(matches!(state.answer(at(100), living(seconds(3000))), Answer::Serve(_)));
        assert!(matches!(state.answer(at(700), living(seconds(3000))), Answer::Renew));
        assert!(
            matches!(state.answer(at(100), living(Duration::MAX)), Answer::Serve(_)),
            "no token lives that long"
        );
        assert!(matches!(state.answer(at(400), living(Duration::MAX)), Answer::Renew));
    }

    #[test]
    fn no_two_successful_renewals_lie_within_ten_seconds() {
        for lifetime in [0, 1, 5, 9, 15, 3600] {
            let state = signed_in(lifetime);
            for second in 0..10 {
                let answer = state.answer(at(second), living(HOUR));
                assert!(!matches!(answer, Answer::Renew), "{lifetime} s token renewed after {second} s");
                assert!(state.starts_at().is_none_or(|start| start >= at(10)));
            }
        }
    }

    #[test]
    fn an_expired_token_is_never_served() {
        for issued_with in [true, false] {
            let state = TokenState::signed_in(Means::Login, tokens("one", 0, 60, issued_with), no_jitter());
            let answer = state.answer(at(60), Need::default());
            assert!(matches!(answer, Answer::Renew | Answer::Fail(_)), "{answer:?}");
            assert!(matches!(state.settled(at(60), TokenKind::Access), Answer::Fail(_)));
        }
    }

    #[test]
    fn a_waiting_client_pulls_an_attempt_forward_once_in_five_seconds() {
        let mut state = signed_in(60);
        state.begin();
        for _ in 0..10 {
            state.begin();
            state.fail(Failure::transient("outage"), at(100), Jitter::from_bits(u32::MAX));
        }
        assert!(state.starts_at().unwrap() > at(105));
        assert!(matches!(state.answer(at(104), Need::default()), Answer::Fail(Unavailable::Failed { .. })));
        assert!(matches!(state.answer(at(105), Need::default()), Answer::Renew));
    }

    #[test]
    fn a_retry_after_holds_clients_back_too() {
        let mut state = signed_in(60);
        state.begin();
        let asked = Failure::Transient { message: "busy".into(), retry_after: Some(seconds(120)) };
        state.fail(asked, at(100), no_jitter());
        assert!(state.starts_at().unwrap() >= at(220));
        assert!(matches!(state.answer(at(219), Need::default()), Answer::Fail(_)));
        assert!(matches!(state.answer(at(220), Need::default()), Answer::Renew));
    }

    #[test]
    fn what_a_person_must_mend_is_tried_once_an_hour_and_at_once_after_a_reload() {
        let mut state = signed_in(60);
        state.begin();
        state.fail(Failure::misconfigured("invalid_client"), at(100), no_jitter());
        assert_eq!(state.starts_at(), Some(at(3700)));
        state.hasten(at(110));
        assert_eq!(state.starts_at(), Some(at(110)));
    }

    #[test]
    fn a_grant_without_a_person_is_asked_when_a_client_asks() {
        let mut state = TokenState::signed_out(Means::Grant, SignedOut::Never, at(0));
        assert_eq!(state.starts_at(), None);
        assert!(matches!(state.answer(at(0), Need::default()), Answer::Renew));
        assert!(state.begin().is_none());
        assert!(matches!(state.answer(at(1), Need::default()), Answer::Wait));
        state.fail(Failure::transient("outage"), at(2), no_jitter());
        assert!(matches!(state.answer(at(3), Need::default()), Answer::Fail(Unavailable::Failed { .. })));
    }

    #[test]
    fn without_a_refresh_token_a_login_lasts_as_long_as_its_access_token() {
        let state = TokenState::signed_in(Means::Login, tokens("one", 0, 60, false), no_jitter());
        assert!(matches!(state.answer(at(59), Need::default()), Answer::ServeStale(..)));
        assert!(matches!(state.held(at(60)), Held::SignedOut(SignedOut::Expired)));
    }
}
