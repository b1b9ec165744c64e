//! What becomes of an account whose refresh token may have been spent.
//!
//! The access token is served to its end whatever happens. The thing to get wrong: a refresh token in doubt is not thrown
//! away before it has had its last chance, for it may be as good as ever.

use crate::clock::Moment;
use crate::token::RefreshToken;
use crate::token::failure::Failure;
use crate::token::rotation::{self, Doubt, Profile, Remedy};
use crate::token::schedule::Jitter;
use crate::token::state::{Held, Renewal, SignedOut, TokenState};

impl TokenState {
    /// Returns what is known of a refresh token that may have been spent.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Returns a refresh token that may have been spent, also one that has nothing but its last try before it.
    pub fn doubted(&self) -> Option<(&RefreshToken, Doubt)> {
        match &self.held {
            Held::SignedIn(tokens) => tokens.refresh.as_ref().zip(self.doubt),
            Held::SignedOut(_) => None,
        }
    }

    /// Takes in that a presentation of the refresh token had no outcome that anybody knows.
    pub fn lose_answer(
        &mut self,
        failure: Failure,
        doubt: Doubt,
        profile: Profile,
        (now, jitter): (Moment, Jitter),
    ) {
        let Held::SignedIn(tokens) = &self.held else { return self.fail(failure, now, jitter) };
        let profile = profile.learned(tokens.refresh.as_ref());
        let failures = self.failures().saturating_add(1);
        self.renewal = match rotation::remedy(profile, doubt, &tokens.access, now) {
            Remedy::Carefree => return self.fail(failure, now, jitter),
            Remedy::RetryAt(at) => Renewal::Due { at, pull_from: at, failures },
            Remedy::Login => Renewal::Impossible { then: SignedOut::AmbiguousRotation },
        };
        self.doubt = Some(doubt);
        self.trouble = Some(failure);
    }

    /// Takes in what an earlier daemon knew of the refresh token.
    pub fn recall(&mut self, doubt: Option<Doubt>) {
        self.doubt = doubt;
    }

    /// Puts the next attempt off until a refresh token in doubt may be presented: an attempt that failed for another reason
    /// makes it no better.
    pub fn hold_back(&mut self, profile: Profile) {
        let (Held::SignedIn(tokens), Some(doubt)) = (&self.held, self.doubt) else { return };
        let Renewal::Due { at, pull_from, failures } = self.renewal else { return };
        let profile = profile.learned(tokens.refresh.as_ref());
        self.renewal = match rotation::remedy(profile, doubt, &tokens.access, at) {
            Remedy::Carefree => return,
            Remedy::RetryAt(then) => {
                Renewal::Due { at: at.max(then), pull_from: pull_from.max(then), failures }
            }
            Remedy::Login => Renewal::Impossible { then: SignedOut::AmbiguousRotation },
        };
    }

    /// Tells whether a refresh token that nothing but a login helps has a last chance: to be presented when a person is
    /// there, in place of asking them to log in.
    pub fn has_last_try(&self, profile: Profile) -> bool {
        let is_given_up = self.renewal == Renewal::Impossible { then: SignedOut::AmbiguousRotation };
        let is_held = matches!(&self.held, Held::SignedIn(tokens) if tokens.refresh.is_some());
        is_given_up && is_held && self.doubt.is_some_and(|doubt| doubt.presentations < profile.most_ever())
    }

    /// Notes that the last try has begun, and returns the refresh token to make it with.
    pub fn begin_last_try(&mut self, profile: Profile) -> Option<RefreshToken> {
        if !self.has_last_try(profile) {
            return None;
        }
        self.renewal = Renewal::InFlight { failures: self.failures() };
        // What is in flight is no longer impossible.
        self.refresh_token()
    }

    /// Gives the refresh token up after its last try.
    pub fn give_up(&mut self, failure: Failure) {
        self.doubt = None;
        self.forget_refresh_token();
        self.renewal = Renewal::Impossible { then: SignedOut::AmbiguousRotation };
        self.trouble = Some(failure);
    }

    /// Returns what is to rest on disk: what is held, and a refresh token as long as it has a chance. Of a login that was
    /// ended, what is left of it: a later daemon has to say why there is none.
    pub fn at_rest(&self, now: Moment) -> Held {
        match &self.held {
            Held::SignedIn(tokens) if self.doubt.is_some() && tokens.refresh.is_some() => self.held.clone(),
            Held::SignedIn(_) if self.ended().is_some() => self.held.clone(),
            Held::SignedIn(_) | Held::SignedOut(_) => self.held(now),
        }
    }

    /// Returns why the login was ended, if it was, by the issuer or by an answer that got lost.
    pub fn ended(&self) -> Option<SignedOut> {
        match (self.renewal, self.doubt) {
            (
                Renewal::Impossible { then: then @ (SignedOut::Refused | SignedOut::AmbiguousRotation) },
                None,
            ) => Some(then),
            _ => None,
        }
    }

    /// Takes in that the login had been ended when the daemon last ran.
    pub fn recall_end(&mut self, because: SignedOut) {
        self.renewal = Renewal::Impossible { then: because };
    }
}
