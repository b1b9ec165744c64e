//! The task that owns one account's tokens.
//!
//! Everything that changes an account happens here, one thing after the other: no lock, no race between a login and a
//! renewal, and nothing that a client could cancel by hanging up. Renewals run in tasks of their own, so that a panic
//! in one is a failed attempt; storing their outcome is part of taking it in, so that "renewed" means "and safe".

mod import;
mod jumps;
mod lock;
mod login;
mod outcome;
mod resumption;
mod variants;

use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::account::Account;
use crate::cache::attempt::Attempts;
use crate::cache::entry::{Asked, NoLogin};
use crate::cache::lane::{Lane, Reply};
use crate::cache::login::{LoginProgress, Outcome, Step};
use crate::cache::orders::Orders;
use crate::cache::resumption::Resumption;
use crate::cache::shelf::{Fate, Shelf, unread};
use crate::cache::succession::Estate;
use crate::cache::variant::Variants;
use crate::cache::view::{Refusal, Stored, View, conclusion};
use crate::clock::jump::Jumps;
use crate::clock::{Clock, Moment};
use crate::failpoint::{self, Point};
use crate::grant::{Attendance, Flow, Pasted, Revoked, TokenSource, Wanted};
use crate::token::failure::Failure;
use crate::token::schedule::Jitter;
use crate::token::state::{Answer, Means, SignedOut, TokenState};
use crate::token::{Target, TokenSet};

pub(super) use crate::cache::owner::lock::Preparation;

/// What clients ask of an owner.
pub(super) enum Message {
    Token { asked: Asked, reply: Reply },
    RenewAhead { target: Target },
    BeginLogin { flow: Flow, reply: oneshot::Sender<Result<(), NoLogin>> },
    Import { refresh: SecretString, reply: oneshot::Sender<Result<(), NoLogin>> },
    Pasting { reply: oneshot::Sender<Option<mpsc::Sender<Pasted>>> },
    CancelLogin { reply: oneshot::Sender<()> },
    LogOut { reply: oneshot::Sender<Result<Option<Revocation>, Refusal>> },
    PrepareLock(Preparation),
}

/// A message on its way. Each mailbox has room for 32 of them from the beginning.
pub(super) type Letter = Box<Message>;

/// A revocation that is under way.
pub(super) type Revocation = JoinHandle<Result<Revoked, Failure>>;

/// The owner of one account's tokens.
pub(super) struct Owner {
    account: Arc<Account>,
    source: Arc<dyn TokenSource>,
    clock: Clock,
    shelf: Shelf,
    /// The tokens for the account's own target.
    own: Lane,
    /// Those for others.
    variants: Variants,
    attempts: Attempts,
    login: LoginProgress,
    login_revision: u64,
    login_step: Option<Step>,
    /// A login that begins where the last try of a refresh token in doubt fails.
    last_try: Option<Flow>,
    /// A refresh token of another client that is taken over when nothing else is under way, and whom it is for: whatever is
    /// reloaded until then, it goes to nobody else.
    next_import: Option<(Arc<dyn TokenSource>, SecretString)>,
    /// The refresh token that was replaced last, by its hash: an answer that brings it again brings nothing new.
    replaced: Option<[u8; 32]>,
    /// How many outcomes of renewals were dropped because something overtook them.
    dropped: u64,
    resumption: Resumption,
    jumps: Jumps,
    /// When the pauses after failures ended last because of a sleep.
    fresh_start_at: Option<Moment>,
    closing: bool,
    /// Whether nothing is begun: it may be locked in a moment.
    is_held: bool,
    view: watch::Sender<Arc<View>>,
}

impl Owner {
    /// Returns what is known of an account before its owner has begun.
    pub(super) fn first_view(orders: &Orders, clock: &Clock) -> Arc<View> {
        Arc::new(View {
            account: Arc::clone(&orders.account),
            stored: unread(orders.latch),
            state: TokenState::signed_out(means(&*orders.source), SignedOut::Never, clock.now().moment),
            failed_at: None,
            variants: Variants::default().snapshot(),
            login: LoginProgress::Idle,
            login_revision: 0,
            dropped: 0,
        })
    }

    pub(super) fn new(orders: Orders, estate: &Estate) -> Self {
        let Orders { account, source, closing, latch } = orders;
        let (store, clock) = (Arc::clone(&estate.store), estate.clock.clone());
        let state = TokenState::signed_out(means(&*source), SignedOut::Never, clock.now().moment);
        let login_revision = estate.view.borrow().login_revision;
        Self {
            account,
            source,
            resumption: Resumption::new(Arc::clone(&store)),
            shelf: Shelf::new(store, clock.clone(), latch),
            jumps: clock.jumps(),
            fresh_start_at: None,
            clock,
            own: Lane::new(state),
            variants: Variants::default(),
            attempts: Attempts::default(),
            login: LoginProgress::Idle,
            login_revision,
            login_step: None,
            last_try: None,
            next_import: None,
            replaced: None,
            dropped: 0,
            closing,
            is_held: false,
            view: estate.view.clone(),
        }
    }

    /// Owns the account until it is closed.
    ///
    /// Nearly all the time an account rests. What it does at other times is boxed, so that the room for it is not kept by
    /// ten thousand that rest.
    pub(super) async fn run(
        mut self: Box<Self>,
        mut messages: OwnedMutexGuard<mpsc::Receiver<Letter>>,
        mut orders: watch::Receiver<Orders>,
    ) {
        if !self.shelf.is_locked() {
            Box::pin(self.load()).await;
        }
        while !(self.closing && self.attempts.is_empty() && !self.is_exchanging()) {
            // What a person is shown is on disk.
            Box::pin(self.resumption.settle(&self.account)).await;
            self.publish();
            let clock = self.clock.clone();
            let wakes_at = self.wakes_at();
            tokio::select! {
                changed = orders.changed(), if !self.closing => match changed {
                    Ok(()) => {
                        let orders = orders.borrow_and_update().clone();
                        Box::pin(self.heed_latch(orders.latch)).await;
                        self.obey(&orders);
                    }
                    Err(_) => self.close(),
                },
                Some(message) = messages.recv(), if !self.closing => Box::pin(self.receive(*message)).await,
                (attempt, outcome) = self.attempts.finished(), if !self.attempts.is_empty() => {
                    Box::pin(self.conclude(attempt, outcome)).await;
                    failpoint::pass(Point::Published).unwrap_or_default();
                }
                outcome = advanced(&mut self.login_step) => Box::pin(self.advance_login(outcome)).await,
                () = self.resumption.changed() => {}
                jump = self.jumps.next() => self.heed(jump),
                () = until(wakes_at, &clock), if !self.closing => Box::pin(self.wake()).await,
            }
        }
        if let Stored::Volatile(_) = self.shelf.stored() {
            Box::pin(self.save()).await;
        }
        Box::pin(self.resumption.settle(&self.account)).await;
    }

    fn obey(&mut self, orders: &Orders) {
        self.account = Arc::clone(&orders.account);
        self.source = Arc::clone(&orders.source);
        let now = self.clock.now().moment;
        self.own.state.hasten(now);
        self.variants.hasten(now);
        if orders.closing {
            self.close();
        }
    }

    fn close(&mut self) {
        self.closing = true;
        self.attempts.release();
        if !self.is_exchanging() {
            self.leave_login();
        }
    }

    async fn receive(&mut self, message: Message) {
        if self.shelf.unreadable().is_some() {
            self.load().await;
        }
        match message {
            Message::Token { asked, reply } => self.admit(asked, reply),
            Message::RenewAhead { target } => self.renew_ahead(target),
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
                self.cancel_login();
                self.resumption.settle(&self.account).await;
                self.publish();
                answer(reply, ());
            }
            Message::LogOut { reply } => {
                let revocation = self.log_out().await;
                self.publish();
                answer(reply, revocation);
            }
            Message::PrepareLock(preparation) => self.prepare_lock(preparation).await,
        }
    }

    /// Answers a client, or lets it wait for the attempt that serves all.
    fn admit(&mut self, asked: Asked, reply: Reply) {
        if let Some(error) = self.shelf.unreadable() {
            return answer(reply, Err(Refusal::Store(Arc::clone(error))));
        }
        if self.shelf.is_locked() {
            return answer(reply, Err(Refusal::Locked));
        }
        if let Wanted::Other(target) = &asked.wanted {
            return self.admit_for(target, &asked, reply);
        }
        match self.own.decide(&asked, self.clock.now().moment) {
            Answer::Renew | Answer::Wait => {
                self.own.admit(asked.need, reply);
                self.start(Wanted::Own);
            }
            decision @ (Answer::Serve(_) | Answer::ServeStale(..) | Answer::Fail(_)) => {
                answer(reply, conclusion(decision));
            }
        }
    }

    /// Starts an attempt, unless another is in its way: then it is started when that has ended.
    fn start(&mut self, wanted: Wanted) {
        if self.is_held || self.is_in_the_way(&wanted) {
            return;
        }
        let refresh = match &wanted {
            Wanted::Own => self.own.state.begin(),
            Wanted::Other(target) => {
                let Some(lane) = self.variants.get(target) else { return };
                lane.state.begin();
                self.variants.publish();
                self.own.state.refresh_token()
            }
        };
        self.send_out(wanted, refresh);
    }

    /// Tells whether something is under way that an attempt has to wait for: there is one refresh token, and no two
    /// requests are made with it at a time.
    fn is_in_the_way(&self, wanted: &Wanted) -> bool {
        match self.own.state.means() {
            Means::Login => !self.attempts.is_empty(),
            Means::Grant => self.attempts.has(wanted),
        }
    }

    /// Starts what somebody waits for.
    fn start_awaited(&mut self) {
        let now = self.clock.now().moment;
        if self.own.is_awaited() && !self.own.state.is_in_flight() {
            match self.own.state.can_start(now) {
                true => self.start(Wanted::Own),
                false => self.own.settle(now),
            }
        }
        self.start_awaited_variants();
    }

    /// Makes the tokens of a login the ones that the account holds: on disk first.
    async fn adopt(&mut self, tokens: TokenSet) {
        self.own.state = TokenState::signed_in(means(&*self.source), tokens, jitter());
        self.own.failed_at = None;
        self.save().await;
    }

    async fn wake(&mut self) {
        let now = self.clock.now().moment;
        if self.store_due().is_some_and(|at| at <= now) {
            match self.shelf.stored() {
                Stored::Unread | Stored::Unreadable(_) => self.load().await,
                Stored::Durable | Stored::Volatile(_) => self.save().await,
                Stored::Locked => {}
            }
        }
        if self.due().is_some_and(|at| at <= now) {
            self.start(Wanted::Own);
        }
    }

    fn wakes_at(&self) -> Option<Moment> {
        [self.due(), self.store_due()].into_iter().flatten().min()
    }

    /// Returns when the store is tried again. Not in mid-renewal: its journal is about the generation that rests.
    fn store_due(&self) -> Option<Moment> {
        self.shelf.retry_at().filter(|_| self.attempts.is_empty())
    }

    /// Returns when the account's own token is renewed by itself.
    fn due(&self) -> Option<Moment> {
        self.own.state.starts_at().filter(|_| !self.is_in_the_way(&Wanted::Own))
    }

    /// Takes over what the account held when the daemon last ran.
    async fn load(&mut self) {
        if let Some((tokens, ended)) = self.shelf.load(&self.account).await {
            self.own.state = TokenState::signed_in(means(&*self.source), tokens, jitter());
            if let Some(because) = ended {
                self.own.state.recall_end(because);
            }
        }
        if self.shelf.unreadable().is_none() {
            self.take_up_renewal().await;
        }
        // What is written about a renewal may be what could not be read.
        if self.shelf.unreadable().is_none() {
            self.resume_login().await;
        }
    }

    /// Makes the disk say what is held. Where that fails the tokens are served all the same.
    async fn save(&mut self) {
        let state = &self.own.state;
        let held = state.at_rest(self.clock.now().moment);
        let fate = Fate { doubt: state.doubt(), ended: state.ended() };
        self.shelf.save(&self.account, &held, fate).await;
    }

    fn publish(&self) {
        self.view.send_replace(Arc::new(View {
            account: Arc::clone(&self.account),
            stored: self.shelf.stored().clone(),
            state: self.own.state.clone(),
            failed_at: self.own.failed_at,
            variants: self.variants.snapshot(),
            login: self.login.clone(),
            login_revision: self.login_revision,
            dropped: self.dropped,
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
pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

/// Returns a random number. Without one everything still works, only less spread out.
fn jitter() -> Jitter {
    Jitter::from_bits(getrandom::u32().unwrap_or(0))
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
