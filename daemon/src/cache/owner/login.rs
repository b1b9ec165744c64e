//! The owner's part in logins: starting one, following it, and what a logout forgets.
//!
//! The thing to get wrong: an answer is exchanged once. From the moment that a person has answered, the exchange runs to
//! its end, whoever hangs up and whatever is reloaded; only a logout drops what it brings, and says so.

use std::sync::Arc;

use keyfob_protocol::account::GrantKind;
use tokio::sync::mpsc;

use crate::cache::entry::NoLogin;
use crate::cache::login::{LoginProgress, Outcome, Step};
use crate::cache::owner::{Owner, Revocation, means};
use crate::cache::view::Refusal;
use crate::grant::{Flow, Login, Pasted, Wanted};
use crate::store::StoreError;
use crate::token::failure::{Failure, told};
use crate::token::state::{Held, Means, SignedOut, TokenState};

impl Owner {
    /// Starts a login, or joins the one that is pending. Whoever asks for a code does not join one with a browser.
    pub(super) fn begin_login(&mut self, flow: Flow) -> Result<(), NoLogin> {
        self.can_log_in()?;
        // Where a code is the account's own way, whoever asks for one joins those who asked for nothing in particular.
        let flow = if self.account.grant() == GrantKind::DeviceCode { Flow::DeviceCode } else { flow };
        if let Some(Step::Starting { flow: pending, .. } | Step::Asking { flow: pending, .. }) =
            &self.login_step
            && flow == Flow::DeviceCode
            && *pending != flow
        {
            self.end_login(LoginProgress::Cancelled);
        }
        if self.login_step.is_none() && self.last_try.is_none() && !self.is_importing() {
            match self.own.state.begin_last_try(self.account.rotation()) {
                Some(refresh) => {
                    self.last_try = Some(flow);
                    self.send_out(Wanted::Own, Some(refresh));
                }
                None => self.login_step = Some(Step::begin(&self.source, flow)),
            }
            self.set_login(LoginProgress::Starting);
        }
        Ok(())
    }

    pub(super) fn can_log_in(&self) -> Result<(), NoLogin> {
        if means(&*self.source) == Means::Grant {
            return Err(NoLogin::NotNeeded);
        }
        match self.shelf.unreadable() {
            Some(error) => Err(NoLogin::Store(Arc::clone(error))),
            None if self.shelf.is_locked() => Err(NoLogin::Locked),
            None => Ok(()),
        }
    }

    /// Returns where a person's paste goes, if the login can do something with one.
    pub(super) fn pasting(&self) -> Option<mpsc::Sender<Pasted>> {
        match &self.login_step {
            Some(Step::Asking { pasting, .. }) => pasting.clone(),
            Some(Step::Starting { .. } | Step::Exchanging(_)) | None => None,
        }
    }

    pub(super) async fn advance_login(&mut self, outcome: Outcome) {
        let account = Arc::clone(&self.account);
        match (outcome, self.login_step.take()) {
            (Outcome::Asked(login), step) => {
                self.ask(login, step.map_or(Flow::Configured, |step| step.flow()));
            }
            (Outcome::Answered(exchange), _) => {
                self.login_step = Some(Step::Exchanging(tokio::spawn(exchange)));
                self.set_login(LoginProgress::Exchanging);
            }
            (Outcome::Exchanged(tokens), _) => {
                self.attempts.overtake();
                self.adopt(tokens).await;
                self.begin_anew();
                tracing::info!(account = %account.name, "signed in");
                self.set_login(LoginProgress::SignedIn);
            }
            (Outcome::Failed(failure), step) if self.source.begins_anew() => {
                tracing::info!(account = %account.name, %failure, "a login is begun anew");
                let flow = step.map_or(Flow::Configured, |step| step.flow());
                // What rests of it has been answered: no later daemon is to go on with that.
                self.resumption.forget();
                self.login_step = Some(Step::begin(&self.source, flow));
                self.set_login(LoginProgress::Starting);
            }
            (Outcome::Failed(failure), _) => {
                tracing::warn!(account = %account.name, %failure, "a login failed");
                self.set_login(LoginProgress::Failed(failure));
            }
        }
    }

    /// Waits for the person.
    pub(super) fn ask(&mut self, login: Login, flow: Flow) {
        let Login { prompt, until, answered, pasting, resumable } = login;
        self.login_step = Some(Step::Asking { answered: tokio::spawn(answered), flow, pasting });
        self.resumption.follow(resumable);
        self.set_login(LoginProgress::Asking { prompt, until });
    }

    /// Tells whether a person's answer, or what another client held, is being exchanged: that must not be lost.
    pub(super) fn is_exchanging(&self) -> bool {
        self.login_step.as_ref().is_some_and(Step::is_exchanging) || self.attempts.is_importing()
    }

    /// Ends a login that waits for a person. Once they have answered it is too late: see the head of this file.
    pub(super) fn cancel_login(&mut self) {
        if !self.is_exchanging() {
            self.end_login(LoginProgress::Cancelled);
        }
    }

    pub(super) fn end_login(&mut self, progress: LoginProgress) {
        if self.attempts.is_importing() {
            tracing::warn!(account = %self.account.name, "dropping an import whose tokens were on their way");
        }
        if self.last_try.take().is_some() || self.is_importing() {
            self.next_import = None;
            self.set_login(progress.clone());
        }
        if let Some(step) = self.login_step.take() {
            if step.is_exchanging() {
                tracing::warn!(account = %self.account.name, "dropping a login whose tokens were on their way");
            }
            step.end(&self.source);
            self.set_login(progress);
        }
    }

    pub(super) fn set_login(&mut self, progress: LoginProgress) {
        if !progress.is_pending() {
            self.resumption.forget();
        }
        self.login = progress;
        self.login_revision += 1;
    }

    /// Forgets here first. What the store could not read cannot be revoked, but it can be forgotten.
    pub(super) async fn log_out(&mut self) -> Result<Option<Revocation>, Refusal> {
        let unread = match self.shelf.unreadable() {
            Some(error) => Some(told(error.as_ref())),
            None if self.shelf.is_locked() => Some(told(&StoreError::Withheld)),
            None => None,
        };
        let unread = unread.map(Failure::transient);
        self.shelf.delete(&self.account).await.map_err(Refusal::Store)?;
        self.end_login(LoginProgress::Cancelled);
        self.resumption.erase(&self.account).await;
        self.attempts.overtake();
        let now = self.clock.now().moment;
        let held = self.own.state.held(now);
        self.own.state = TokenState::signed_out(means(&*self.source), SignedOut::ByUser, now);
        self.own.failed_at = None;
        self.begin_anew();
        tracing::info!(account = %self.account.name, "logged out");
        Ok(match (held, unread) {
            (Held::SignedIn(tokens), _) => Some(tokio::spawn(self.source.revoke((*tokens).clone()))),
            (Held::SignedOut(_), Some(failure)) => Some(tokio::spawn(async { Err(failure) })),
            (Held::SignedOut(_), None) => None,
        })
    }
}
