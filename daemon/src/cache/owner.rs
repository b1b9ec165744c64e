//! The task that owns one account's tokens.
//!
//! Everything that changes an account happens here, one thing after the other: no lock, no race between a login and a
//! renewal, and nothing that a client could cancel by hanging up. Renewals run in tasks of their own, so that a panic
//! in one is a failed attempt; storing their outcome is part of taking it in, so that "renewed" means "and safe".

mod login;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::cache::entry::{NoLogin, Orders};
use crate::cache::login::{LoginProgress, Outcome, Step};
use crate::cache::shelf::Shelf;
use crate::cache::view::{Refusal, Served, Stored, View, conclusion};
use crate::clock::{Clock, Moment};
use crate::grant::{Attendance, Flow, Pasted, Revoked, TokenSource, Wanted};
use crate::store::Store;
use crate::token::failure::Failure;
use crate::token::schedule::Jitter;
use crate::token::state::{Answer, Means, Renewal, SignedOut, TokenState};
use crate::token::{RefreshToken, TokenSet};

/// Clients that wait for one account at most: ten times the burst that we are built for. Each is a few hundred bytes.
const MAX_WAITING: usize = 10_000;

/// What clients ask of an owner.
pub(super) enum Message {
    Token { min_ttl: Option<Duration>, reply: oneshot::Sender<Result<Served, Refusal>> },
    BeginLogin { flow: Flow, reply: oneshot::Sender<Result<(), NoLogin>> },
    Import { refresh: SecretString, reply: oneshot::Sender<Result<(), NoLogin>> },
    Pasting { reply: oneshot::Sender<Option<mpsc::Sender<Pasted>>> },
    CancelLogin { reply: oneshot::Sender<()> },
    LogOut { reply: oneshot::Sender<Result<Option<Revocation>, Refusal>> },
}

/// A revocation that is under way.
pub(super) type Revocation = JoinHandle<Result<Revoked, Failure>>;

/// The owner of one account's tokens.
pub(super) struct Owner {
    account: Arc<Account>,
    source: Arc<dyn TokenSource>,
    clock: Clock,
    shelf: Shelf,
    state: TokenState,
    failed_at: Option<Timestamp>,
    waiting: Vec<oneshot::Sender<Result<Served, Refusal>>>,
    attempt: Option<Attempt>,
    login: LoginProgress,
    login_revision: u64,
    login_step: Option<Step>,
    closing: bool,
    view: watch::Sender<Arc<View>>,
}

/// A renewal that is under way.
struct Attempt {
    task: JoinHandle<Result<TokenSet, Failure>>,
    /// What it is made with.
    refresh: Option<RefreshToken>,
    /// Whether its outcome still matters: not after a login or a logout in the meantime.
    is_current: bool,
}

impl Owner {
    pub(super) fn new(orders: Orders, store: Arc<Store>, clock: Clock) -> Self {
        let Orders { account, source, closing } = orders;
        let state = TokenState::signed_out(means(&*source), SignedOut::Never, clock.now().moment);
        let view = watch::Sender::new(Arc::new(View {
            account: Arc::clone(&account),
            stored: Stored::Unread,
            state: state.clone(),
            failed_at: None,
            login: LoginProgress::Idle,
            login_revision: 0,
        }));
        Self {
            account,
            source,
            shelf: Shelf::new(store, clock.clone()),
            clock,
            state,
            failed_at: None,
            waiting: Vec::new(),
            attempt: None,
            login: LoginProgress::Idle,
            login_revision: 0,
            login_step: None,
            closing,
            view,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Owns the account until it is closed.
    pub(super) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut orders: watch::Receiver<Orders>,
    ) {
        self.load().await;
        while !(self.closing && self.attempt.is_none() && !self.is_exchanging()) {
            self.publish();
            let clock = self.clock.clone();
            let wakes_at = self.wakes_at();
            tokio::select! {
                changed = orders.changed(), if !self.closing => match changed {
                    Ok(()) => self.obey(&orders.borrow_and_update()),
                    Err(_) => self.close(),
                },
                Some(message) = messages.recv(), if !self.closing => self.receive(message).await,
                outcome = finished(&mut self.attempt) => self.conclude(outcome).await,
                outcome = advanced(&mut self.login_step) => self.advance_login(outcome).await,
                () = until(wakes_at, &clock), if !self.closing => self.wake().await,
            }
        }
        if let Stored::Volatile(_) = self.shelf.stored() {
            self.save().await;
        }
    }

    fn obey(&mut self, orders: &Orders) {
        self.account = Arc::clone(&orders.account);
        self.source = Arc::clone(&orders.source);
        self.state.hasten(self.clock.now().moment);
        if orders.closing {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closing = true;
        if !self.is_exchanging() {
            self.end_login(LoginProgress::Cancelled);
        }
    }

    async fn receive(&mut self, message: Message) {
        if self.shelf.unreadable().is_some() {
            self.load().await;
        }
        match message {
            Message::Token { min_ttl, reply } => self.admit(min_ttl, reply),
            Message::BeginLogin { flow, reply } => {
                let begun = self.begin_login(flow);
                self.publish();
                answer(reply, begun);
            }
            Message::Import { refresh, reply } => {
                let begun = self.import(refresh);
                self.publish();
                answer(reply, begun);
            }
            Message::Pasting { reply } => answer(reply, self.pasting()),
            Message::CancelLogin { reply } => {
                self.end_login(LoginProgress::Cancelled);
                self.publish();
                answer(reply, ());
            }
            Message::LogOut { reply } => {
                let revocation = self.log_out().await;
                self.publish();
                answer(reply, revocation);
            }
        }
    }

    /// Answers a client, or lets it wait for the attempt that serves all.
    fn admit(&mut self, min_ttl: Option<Duration>, reply: oneshot::Sender<Result<Served, Refusal>>) {
        if let Some(error) = self.shelf.unreadable() {
            return answer(reply, Err(Refusal::Store(Arc::clone(error))));
        }
        let decision = self.state.answer(self.clock.now().moment, min_ttl);
        match decision {
            Answer::Renew | Answer::Wait => {
                if self.waiting.len() >= MAX_WAITING {
                    // Those who hung up make room.
                    self.waiting.retain(|reply| !reply.is_closed());
                }
                if self.waiting.len() >= MAX_WAITING {
                    return answer(reply, Err(Refusal::Crowded));
                }
                self.waiting.push(reply);
                self.start_attempt();
            }
            Answer::Serve(_) | Answer::ServeStale(..) | Answer::Fail(_) => {
                answer(reply, conclusion(decision))
            }
        }
    }

    fn start_attempt(&mut self) {
        if self.attempt.is_some() {
            return;
        }
        let refresh = self.state.begin();
        let task = tokio::spawn(self.source.renew(refresh.clone(), Wanted::Own));
        self.attempt = Some(Attempt { task, refresh, is_current: true });
    }

    /// Takes in the outcome of an attempt: stores new tokens, then tells everybody who waits, the error as well.
    async fn conclude(&mut self, outcome: Result<TokenSet, Failure>) {
        let Some(attempt) = self.attempt.take() else { return };
        let account = &self.account.name;
        match outcome {
            outcome if !attempt.is_current => {
                tracing::warn!(%account, "dropped the outcome of a renewal: a login or logout overtook it");
                if let Ok(tokens) = outcome {
                    tokio::spawn(self.source.revoke(tokens));
                }
            }
            Ok(tokens) => {
                tracing::info!(%account, "renewed the access token");
                self.adopt(tokens.keeping(attempt.refresh)).await;
            }
            Err(failure) => {
                tracing::warn!(%account, %failure, "a renewal failed");
                let now = self.clock.now();
                self.failed_at = Some(now.wall);
                self.state.fail(failure, now.moment, jitter());
                if let Renewal::Impossible { .. } = self.state.renewal() {
                    // A refused refresh token must not come back with the next start.
                    self.save().await;
                }
            }
        }
        self.publish();
        let now = self.clock.now().moment;
        for reply in std::mem::take(&mut self.waiting) {
            answer(reply, conclusion(self.state.settled(now)));
        }
    }

    /// Makes tokens the ones that the account holds: on disk first.
    async fn adopt(&mut self, tokens: TokenSet) {
        self.state = TokenState::signed_in(means(&*self.source), tokens, jitter());
        self.failed_at = None;
        self.save().await;
    }

    fn overtake_attempt(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_current = false;
        }
    }

    async fn wake(&mut self) {
        let now = self.clock.now().moment;
        if self.shelf.retry_at().is_some_and(|at| at <= now) {
            match self.shelf.stored() {
                Stored::Unread | Stored::Unreadable(_) => self.load().await,
                Stored::Durable | Stored::Volatile(_) => self.save().await,
            }
        }
        if self.state.starts_at().is_some_and(|at| at <= now) {
            self.start_attempt();
        }
    }

    fn wakes_at(&self) -> Option<Moment> {
        [self.state.starts_at(), self.shelf.retry_at()].into_iter().flatten().min()
    }

    /// Takes over what the account held when the daemon last ran.
    async fn load(&mut self) {
        if let Some(tokens) = self.shelf.load(&self.account).await {
            self.state = TokenState::signed_in(means(&*self.source), tokens, jitter());
        }
    }

    /// Makes the disk say what is held. Where that fails the tokens are served all the same.
    async fn save(&mut self) {
        let held = self.state.held(self.clock.now().moment);
        self.shelf.save(&self.account, &held).await;
    }

    fn publish(&self) {
        self.view.send_replace(Arc::new(View {
            account: Arc::clone(&self.account),
            stored: self.shelf.stored().clone(),
            state: self.state.clone(),
            failed_at: self.failed_at,
            login: self.login.clone(),
            login_revision: self.login_revision,
        }));
    }
}

fn means(source: &dyn TokenSource) -> Means {
    match source.attendance() {
        Attendance::Unattended => Means::Grant,
        Attendance::Person => Means::Login,
    }
}

/// Answers a client. One that has hung up needs no answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

/// Returns a random number. Without one everything still works, only less spread out.
fn jitter() -> Jitter {
    Jitter::from_bits(getrandom::u32().unwrap_or(0))
}

/// Waits for the outcome of an attempt, for ever if there is none.
async fn finished(attempt: &mut Option<Attempt>) -> Result<TokenSet, Failure> {
    match attempt {
        Some(attempt) => (&mut attempt.task).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a renewal ended abnormally");
            Err(Failure::transient("the renewal ended abnormally: see the daemon's log"))
        }),
        None => std::future::pending().await,
    }
}

/// Waits for the next step of a login, for ever if there is none.
async fn advanced(step: &mut Option<Step>) -> Outcome {
    match step {
        Some(step) => step.outcome().await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment, for ever if there is none.
async fn until(moment: Option<Moment>, clock: &Clock) {
    match moment {
        Some(moment) => clock.sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
