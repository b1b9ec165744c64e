//! The owner's part in renewals: sending one out, and taking in what came of it.
//!
//! The order is the promise: new tokens are on disk before what led to them is taken off it, and that is gone before anybody
//! is told. The thing to get wrong: a renewal without an outcome is no failed renewal. Its refresh token may be spent.

use std::sync::Arc;

use crate::cache::attempt::{Attempt, Errand, Occasion, Outcome};
use crate::cache::login::{LoginProgress, Step};
use crate::cache::owner::{Owner, jitter, means};
use crate::cache::scribe::Hurry;
use crate::grant::{Unread, Wanted};
use crate::store::{Record, StoreError};
use crate::token::answered::{Answered, Purpose};
use crate::token::failure::{Failure, abnormal, told};
use crate::token::rotation::{Doubt, LAST_MINUTE};
use crate::token::state::{Held, Renewal, SignedOut, TokenState};
use crate::token::{RefreshToken, TokenSet};

impl Owner {
    /// Starts an attempt for which the state is ready.
    pub(super) fn send_out(&mut self, wanted: Wanted, refresh: Option<RefreshToken>) {
        let now = self.clock.now().moment;
        let earlier = self.own.state.doubt();
        let doubt = Doubt::after(earlier, now);
        let hurry = match self.own.state.held(now) {
            Held::SignedIn(tokens) if tokens.access.lives_for(LAST_MINUTE, now) => Hurry::CanWait,
            Held::SignedIn(_) | Held::SignedOut(_) => Hurry::CannotWait,
        };
        let scribe = refresh.as_ref().map(|refresh| self.shelf.scribe(&self.account, refresh, doubt, hurry));
        self.attempts.start(&self.source, Errand { wanted, refresh, earlier, doubt }, scribe);
    }

    /// Takes in the outcome of an attempt: stores new tokens, then tells everybody who waits, the error as well.
    pub(super) async fn conclude(&mut self, attempt: Attempt, outcome: Option<Outcome>) {
        // Whoever waits for what was only let go learns what comes of that.
        let is_settled = attempt.is_current && !(self.is_held && matches!(outcome, Some(Outcome::Unsent(_))));
        match (attempt.is_current, &attempt.occasion) {
            (false, _) => self.drop_overtaken(outcome).await,
            (true, Occasion::Import) => self.conclude_import(outcome).await,
            (true, Occasion::Renewal(errand)) => self.conclude_renewal(errand, outcome).await,
        }
        self.variants.publish();
        self.publish();
        if let (true, Occasion::Renewal(errand)) = (is_settled, &attempt.occasion) {
            let now = self.clock.now().moment;
            match &errand.wanted {
                Wanted::Other(target) => self.settle_variant(target, now),
                Wanted::Own => self.own.settle(now),
            }
        }
        if !self.closing && !self.is_held {
            self.start_import();
            self.start_awaited();
        }
    }

    async fn conclude_renewal(&mut self, errand: &Errand, outcome: Option<Outcome>) {
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => self.recover(errand).await,
        };
        match &errand.wanted {
            Wanted::Other(target) => self.conclude_for(target, errand, outcome).await,
            Wanted::Own => self.conclude_own(errand, outcome).await,
        }
    }

    async fn conclude_own(&mut self, errand: &Errand, outcome: Outcome) {
        let flow = self.last_try.take();
        match outcome {
            Outcome::Renewed(tokens) => {
                tracing::info!(account = %self.account.name, "renewed the access token");
                let tokens = self.succeeding(tokens, errand);
                let tokens = self.of_same_subject(tokens);
                let now = self.clock.now().moment;
                self.own.state = self.own.state.renewed(tokens, now, jitter());
                self.own.failed_at = None;
                self.save().await;
                if flow.is_some() {
                    self.set_login(LoginProgress::SignedIn);
                }
                return;
            }
            Outcome::Overtaken(record) => self.adopt_later(record).await,
            Outcome::Unsent(failure) => self.fail_own(errand, failure).await,
            Outcome::Failed(unread) => self.fail_presented(errand, unread).await,
        }
        if let Some(flow) = flow {
            self.end_last_try(errand).await;
            if self.closing {
                return self.set_login(LoginProgress::Cancelled);
            }
            self.login_step = Some(Step::begin(&self.source, flow));
        }
    }

    /// Returns a renewal's tokens with the refresh token that is in force from now on: its own, or the one that it was made
    /// with where the answer has none (RFC 6749 §6) or one that was replaced before.
    pub(super) fn succeeding(&mut self, mut tokens: TokenSet, errand: &Errand) -> TokenSet {
        let Some(presented) = &errand.refresh else { return tokens };
        tokens.refresh = Some(match tokens.refresh.take() {
            Some(fresh) if !fresh.is(presented) && self.replaced != Some(fresh.hash()) => {
                self.replaced = Some(presented.hash());
                fresh
            }
            Some(_) | None => {
                // An issuer that forgives a replay by handing back what was presented shows nothing by it.
                let uses = if errand.earlier.is_none() { presented.uses.saturating_add(1) } else { 0 };
                RefreshToken { uses, ..presented.clone() }
            }
        });
        tokens
    }

    /// Returns a renewal's tokens without an ID token of somebody else.
    pub(super) fn of_same_subject(&self, tokens: TokenSet) -> TokenSet {
        let Some(rest) = self.own.state.without_id_of_another(&tokens) else { return tokens };
        tracing::warn!(account = %self.account.name, "dropped an ID token: it is about another user than the login is");
        rest
    }

    /// Drops what came of a renewal that a login or a logout overtook. After a logout it is handed back. After a login it
    /// is not: many issuers take it for the end of all that the person granted to this client, the new login included.
    async fn drop_overtaken(&mut self, outcome: Option<Outcome>) {
        tracing::warn!(account = %self.account.name, "dropped the outcome of a renewal: a login or logout overtook it");
        self.dropped = self.dropped.saturating_add(1);
        self.shelf.end_rotation(&self.account).await;
        match (outcome, self.own.state.held(self.clock.now().moment)) {
            (Some(Outcome::Renewed(tokens)), Held::SignedOut(_)) => {
                drop(tokio::spawn(self.source.revoke(tokens)));
            }
            (Some(Outcome::Renewed(_)), Held::SignedIn(_))
            | (Some(Outcome::Overtaken(_) | Outcome::Unsent(_) | Outcome::Failed(_)) | None, _) => {}
        }
    }

    /// Takes in how an attempt failed whose refresh token was presented.
    pub(super) async fn fail_presented(&mut self, errand: &Errand, Unread { failure, successor }: Unread) {
        let account = &self.account.name;
        if let Some(mut successor) = successor {
            tracing::warn!(%account, %failure, "an answer without a usable access token: its refresh token is kept");
            successor.proof_key = errand.refresh.as_ref().and_then(|presented| presented.proof_key.clone());
            self.own.state.rotate(successor);
            self.own.fail(Failure::transient(failure.to_string()), self.clock.now(), jitter());
            self.save().await;
            return;
        }
        if let Failure::Ambiguous { .. } = failure {
            tracing::warn!(%account, %failure, "the answer to a renewal got lost");
            return self.lose_answer(failure, errand.doubt);
        }
        if let (Failure::Refused { .. }, Some(record)) = (&failure, self.shelf.later(&self.account).await) {
            return self.adopt_later(record).await;
        }
        self.fail_own(errand, failure).await;
    }

    pub(super) fn lose_answer(&mut self, failure: Failure, doubt: Doubt) {
        let now = self.clock.now();
        self.own.failed_at = Some(now.wall);
        let profile = self.account.rotation();
        self.own.state.lose_answer(failure, doubt, profile, (now.moment, jitter()));
    }

    /// Takes in how an attempt failed that spent nothing, or was refused.
    async fn fail_own(&mut self, errand: &Errand, failure: Failure) {
        tracing::warn!(account = %self.account.name, %failure, "a renewal failed");
        self.own.fail(failure, self.clock.now(), jitter());
        if let Renewal::Impossible { .. } = self.own.state.renewal() {
            // A refused refresh token must not come back with the next start.
            return self.save().await;
        }
        self.own.state.hold_back(self.account.rotation());
        if let Some(refresh) = &errand.refresh {
            self.shelf.withdraw(&self.account, refresh, errand.earlier).await;
        }
    }

    /// Takes over what rests, which is later than what is held.
    pub(super) async fn adopt_later(&mut self, record: Record) {
        tracing::warn!(account = %self.account.name, "took over tokens that are later than those in memory");
        match self.shelf.adopt(&self.account, record) {
            Some(tokens) => self.own.state = TokenState::signed_in(means(&*self.source), tokens, jitter()),
            None => {
                let failure = Failure::transient("what rests on disk belongs to other settings");
                self.own.fail(failure, self.clock.now(), jitter());
            }
        }
        self.shelf.end_rotation(&self.account).await;
    }

    /// Lets go of a refresh token that had its last try, unless that never got to the issuer.
    async fn end_last_try(&mut self, errand: &Errand) {
        let is_another = |held: RefreshToken| !errand.refresh.as_ref().is_some_and(|tried| held.is(tried));
        if self.own.state.refresh_token().is_some_and(is_another) {
            // It is not the one that had it.
            return;
        }
        let trouble = self.own.state.trouble().cloned();
        let failure = trouble.unwrap_or_else(|| Failure::transient("the answer to a renewal got lost"));
        match (&failure, errand.earlier) {
            (Failure::Transient { .. } | Failure::Misconfigured { .. }, Some(earlier)) => {
                self.lose_answer(failure, earlier);
            }
            _ => {
                self.own.state.give_up(failure);
                self.save().await;
            }
        }
    }

    /// Goes on with a renewal that an earlier daemon began and whose outcome it did not get to store.
    pub(super) async fn take_up_renewal(&mut self) {
        let left = match self.shelf.left(&self.account).await {
            Ok(Some(left)) => left,
            Ok(None) => return,
            Err(error @ StoreError::DamagedJournal { .. }) => {
                tracing::error!(account = %self.account.name, error = told(&error), "cannot read what is written about a renewal");
                // It may have been spent.
                if self.own.state.refresh_token().is_some() {
                    let failure = Failure::Ambiguous { message: told(&error).into() };
                    self.lose_answer(failure, Doubt::after(None, self.clock.now().moment));
                }
                return;
            }
            Err(error) => {
                tracing::error!(account = %self.account.name, error = told(&error), "cannot read what is written about a renewal yet");
                let now = self.clock.now().moment;
                self.own.state = TokenState::signed_out(means(&*self.source), SignedOut::Never, now);
                return self.shelf.distrust(error);
            }
        };
        let account = &self.account.name;
        if left.intent.fingerprint != self.account.fingerprint() {
            // So do the tokens that it is about, and they may be wanted again.
            tracing::warn!(%account, "what is written about a renewal belongs to other settings: not used");
            return;
        }
        if let Some(adopted) = left.intent.adopted {
            return self.take_up_import(adopted, left.answered).await;
        }
        let refresh = self.own.state.refresh_token();
        let Some(refresh) = refresh.filter(|refresh| refresh.hash() == left.intent.token_hash) else {
            tracing::warn!(%account, "what is written about a renewal is about another refresh token: dropped");
            self.dropped = self.dropped.saturating_add(1);
            return self.shelf.end_rotation(&self.account).await;
        };
        tracing::info!(%account, "going on with a renewal that had no outcome");
        let doubt = left.intent.doubt;
        let earlier = Some(Doubt { presentations: doubt.presentations.saturating_sub(1), ..doubt });
        let earlier = earlier.filter(|earlier| earlier.presentations > 0);
        let errand = Errand { wanted: Wanted::Own, refresh: Some(refresh), earlier, doubt };
        self.own.state.recall(errand.earlier);
        let purpose = left.answered.as_ref().map(|answered| answered.terms.purpose);
        let outcome = self.replay(&errand, left.answered).await;
        match purpose {
            // The tokens are for another target, and so is a refusal. The refresh token among them is for all.
            Some(Purpose::Other) => drop(self.taken_in(&errand, outcome).await),
            Some(Purpose::Own) | None => self.conclude_own(&errand, outcome).await,
        }
    }

    /// Finds out what an attempt of this daemon came to that ended abnormally.
    async fn recover(&mut self, errand: &Errand) -> Outcome {
        const ENDED: &str = "the renewal ended abnormally: see the daemon's log";
        if errand.refresh.is_none() {
            return Outcome::Unsent(Failure::transient(ENDED));
        }
        match self.shelf.left(&self.account).await {
            Ok(Some(left)) if left.intent.doubt.presentations == errand.doubt.presentations => {
                self.replay(errand, left.answered).await
            }
            // It wrote nothing down: what is there is about an earlier presentation.
            Ok(Some(_) | None) => Outcome::Unsent(Failure::transient(ENDED)),
            Err(_) => lost(ENDED),
        }
    }

    async fn replay(&self, errand: &Errand, answered: Option<Answered>) -> Outcome {
        match (answered, errand.refresh.clone()) {
            (Some(answered), Some(refresh)) => self.reread(answered, refresh).await,
            (None, _) | (_, None) => lost("the daemon ended before the answer to a renewal arrived"),
        }
    }

    /// Reads an answer that was written down and not taken in: in a task of its own, since it may have broken its reader
    /// before.
    pub(super) async fn reread(&self, answered: Answered, refresh: RefreshToken) -> Outcome {
        let source = Arc::clone(&self.source);
        match tokio::spawn(async move { source.read(&answered, &refresh) }).await {
            Ok(read) => read.map_or_else(Outcome::Failed, Outcome::Renewed),
            Err(error) => {
                tracing::error!(account = %self.account.name, error = abnormal(&error), "reading an answer ended abnormally");
                lost("the answer to a renewal cannot be read: see the daemon's log")
            }
        }
    }
}

/// Returns what comes of a renewal without an outcome.
pub(super) fn lost(message: &str) -> Outcome {
    Outcome::Failed(Unread { failure: Failure::Ambiguous { message: message.into() }, successor: None })
}
