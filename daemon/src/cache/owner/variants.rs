//! The owner's part in tokens for other targets than the account's own.
//!
//! The thing to get wrong: where a person logged in, they are obtained with the account's refresh token, of which there
//! is one. So their requests and the account's own go one after the other, and a refresh token that comes back in place
//! of it is on disk before anybody gets anything.

use crate::cache::attempt::{Errand, Outcome};
use crate::cache::entry::Asked;
use crate::cache::lane::Reply;
use crate::cache::owner::{Owner, answer, jitter};
use crate::cache::view::{Refusal, conclusion};
use crate::clock::Moment;
use crate::grant::{Unread, Wanted};
use crate::token::failure::Failure;
use crate::token::need::TokenKind;
use crate::token::state::{Answer, Held, Means, Renewal, SignedOut, Unavailable};
use crate::token::{Target, TokenSet};

impl Owner {
    /// Answers a client that wants a token for another target, or lets it wait for the attempt that serves all.
    pub(super) fn admit_for(&mut self, target: &Target, asked: &Asked, reply: Reply) {
        let now = self.clock.now().moment;
        let objection = self.can_obtain(target).err();
        match (self.variants.get(target).map(|lane| (lane.decide(asked, now), lane)), objection) {
            (Some((decision @ Answer::Serve(_), _)), _)
            | (Some((decision @ (Answer::ServeStale(..) | Answer::Fail(_)), _)), None) => {
                answer(reply, conclusion(decision));
            }
            (Some((_, lane)), Some(objection)) => answer(reply, lane.instead(&objection, asked.need, now)),
            (None, Some(objection)) => answer(reply, Err(objection)),
            (Some((Answer::Renew | Answer::Wait, _)) | None, None) => match self.variants.open(target, now) {
                Ok(lane) => {
                    lane.admit(asked.need, reply);
                    self.start_awaited();
                }
                Err(_) => answer(reply, Err(Refusal::Crowded)),
            },
        }
    }

    /// Starts what somebody waits for and what can be had, and tells the others that it cannot.
    pub(super) fn start_awaited_variants(&mut self) {
        let now = self.clock.now().moment;
        for target in self.variants.awaited() {
            let objection = self.can_obtain(&target).err();
            let Some(lane) = self.variants.get(&target) else { continue };
            match (lane.state.renewal(), objection) {
                (Renewal::InFlight { .. }, _) => {}
                (_, Some(objection)) => lane.refuse(&objection, now),
                (_, None) if lane.state.can_start(now) => self.start(Wanted::Other(target)),
                (_, None) => lane.settle(now),
            }
        }
    }

    /// Renews tokens for another target ahead of their expiry: somebody uses them, and they are due.
    pub(super) fn renew_ahead(&mut self, target: Target) {
        let now = self.clock.now().moment;
        let due = self.variants.get(&target).and_then(|lane| lane.state.starts_at());
        if due.is_some_and(|at| at <= now) && self.can_obtain(&target).is_ok() {
            self.start(Wanted::Other(target));
        }
    }

    /// Says why there is no sense in asking the issuer for a target, if there is none.
    fn can_obtain(&self, target: &Target) -> Result<(), Refusal> {
        let state = &self.own.state;
        if state.means() == Means::Grant {
            return Ok(());
        }
        let now = self.clock.now().moment;
        if let Held::SignedIn(tokens) = state.held(now) {
            let missing = target.scope.beyond(&tokens.scope);
            // Where the account's own scope was granted in part, whoever asks for nothing else gets that part.
            let is_asked_for = target.scope != self.account.target().scope;
            if is_asked_for && !tokens.scope.is_empty() && !missing.is_empty() {
                return Err(Refusal::InsufficientScope { missing });
            }
        }
        if let (Some(_), Some(trouble)) = (state.doubt(), state.trouble()) {
            // Whether the refresh token is good is for the account's own renewal to find out.
            let retry_at = state.starts_at().unwrap_or(now);
            return Err(Refusal::Unavailable(Unavailable::Failed { failure: trouble.clone(), retry_at }));
        }
        if state.refresh_token().is_some() {
            return Ok(());
        }
        Err(match state.settled(now, TokenKind::Access) {
            Answer::Serve(_) | Answer::ServeStale(_, Unavailable::LoginRequired(SignedOut::Expired)) => {
                Refusal::NoRefreshToken
            }
            Answer::Fail(why) | Answer::ServeStale(_, why) => Refusal::Unavailable(why),
            Answer::Renew | Answer::Wait => Refusal::Unavailable(Unavailable::Renewing),
        })
    }

    /// Takes in the outcome of an attempt for another target.
    pub(super) async fn conclude_for(&mut self, target: &Target, errand: &Errand, outcome: Outcome) {
        let account = self.account.name.clone();
        let now = self.clock.now();
        let is_by_login = self.own.state.means() == Means::Login;
        match self.taken_in(errand, outcome).await {
            Ok(TokenSet { refresh: _, access, id, subject, scope, header }) => {
                tracing::info!(%account, "obtained an access token for another target");
                if let Some(lane) = self.variants.get(target) {
                    let tokens = TokenSet { refresh: None, access, id, subject, scope, header };
                    lane.state = lane.state.renewed(tokens, now.moment, jitter());
                    lane.failed_at = None;
                }
            }
            Err(failure) => {
                tracing::warn!(%account, %failure, "no token for another target");
                let (failure, puts_login_in_doubt) = match failure {
                    Failure::Refused { message } if is_by_login => (Failure::Misconfigured { message }, true),
                    Failure::Refused { .. }
                    | Failure::LoginRequired
                    | Failure::Transient { .. }
                    | Failure::Ambiguous { .. }
                    | Failure::Misconfigured { .. } => (failure, false),
                };
                if let Some(lane) = self.variants.get(target) {
                    lane.fail(failure, now, jitter());
                }
                // Some issuers say `invalid_grant` of a target that the person has not agreed to. Whether the login has
                // ended is for the account's own renewal to find out.
                if puts_login_in_doubt && !self.closing && self.own.state.can_start(now.moment) {
                    self.start(Wanted::Own);
                }
            }
        }
    }

    /// Takes in what an outcome means for the refresh token, which is the account's, and returns the rest of it.
    pub(super) async fn taken_in(&mut self, errand: &Errand, outcome: Outcome) -> Result<TokenSet, Failure> {
        match outcome {
            Outcome::Renewed(tokens) => {
                let tokens = self.succeeding(tokens, errand);
                let mut tokens = self.of_same_subject(tokens);
                if let Some(refresh) = tokens.refresh.take().filter(|_| errand.refresh.is_some()) {
                    self.own.state.rotate(refresh);
                    self.save().await;
                }
                Ok(tokens)
            }
            Outcome::Overtaken(record) => {
                self.adopt_later(record).await;
                Err(Failure::transient("the account has other tokens now: ask again"))
            }
            Outcome::Failed(unread) if unread.successor.is_some() || is_ambiguous(&unread.failure) => {
                let failure = unread.failure.clone();
                self.fail_presented(errand, unread).await;
                Err(failure)
            }
            Outcome::Unsent(failure) | Outcome::Failed(Unread { failure, .. }) => {
                if let Some(refresh) = &errand.refresh {
                    self.shelf.withdraw(&self.account, refresh, errand.earlier).await;
                }
                Err(failure)
            }
        }
    }

    /// Tells those who wait for a target how it stands. Where the login has ended, they are told that instead.
    pub(super) fn settle_variant(&mut self, target: &Target, now: Moment) {
        match (self.can_obtain(target), self.variants.get(target)) {
            (Ok(()), Some(lane)) => lane.settle(now),
            (Err(objection), Some(lane)) => lane.refuse(&objection, now),
            (_, None) => {}
        }
    }

    /// Forgets all tokens for other targets: the login that they were obtained by is over. Whoever waits, for whichever
    /// target, asks anew: there is a token now, or none to wait for.
    pub(super) fn begin_anew(&mut self) {
        let own = self.own.take_waiting().into_iter().map(|(need, reply)| (Wanted::Own, need, reply));
        let others = self.variants.clear().into_iter();
        let others = others.map(|(target, need, reply)| (Wanted::Other(target), need, reply));
        for (wanted, need, reply) in own.chain(others).collect::<Vec<_>>() {
            if self.closing {
                answer(reply, Err(Refusal::Closing));
            } else {
                self.admit(Asked { wanted, need, refused: None }, reply);
            }
        }
    }
}

fn is_ambiguous(failure: &Failure) -> bool {
    matches!(failure, Failure::Ambiguous { .. })
}
