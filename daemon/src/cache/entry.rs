//! The handle on an account that runs: what clients can ask of its owner task.
//!
//! The handle never changes anything itself. A caller that hangs up while it waits cancels its waiting and nothing
//! else, because whatever must not be interrupted runs in the owner.

pub(super) mod lock;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::account::Account;
use crate::cache::lock::Latch;
use crate::cache::orders::Orders;
use crate::cache::owner::{Letter, Message, Owner};
use crate::cache::rejection::{Consumer, InForce, Rejections, Verdict};
use crate::cache::succession::{self, Estate};
use crate::cache::view::{Refusal, Served, Stored, View};
use crate::clock::{Clock, Moment};
use crate::grant::{Flow, NotTheRedirect, Pasted, Revoked, TokenSource, Wanted};
use crate::store::{Store, StoreError};
use crate::token::failure::{Failure, abnormal};
use crate::token::need::Need;
use crate::token::state::{TokenState, Unavailable};
use crate::token::{Scope, Target, TokenHash, TokenSet};

/// Messages that wait for the owner: senders beyond that wait in turn, within their own deadlines.
const MAILBOX: usize = 1024;

/// An account that runs.
pub struct Entry {
    clock: Clock,
    mailbox: mpsc::Sender<Letter>,
    orders: watch::Sender<Orders>,
    view: watch::Receiver<Arc<View>>,
    rejections: Mutex<Rejections>,
}

/// A request for a token.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For which target.
    pub wanted: Wanted,
    /// Which token, and how fresh.
    pub need: Need,
    /// The token that a server refused, which is not to be served again where another can be had.
    pub refused: Option<TokenHash>,
}

impl Asked {
    /// Tells whether what would be served is what a server refused.
    pub(super) fn is_about(&self, tokens: &TokenSet) -> bool {
        self.refused.is_some_and(|refused| tokens.hash(self.need.kind) == Some(refused))
    }
}

/// What became of a token that a client says was refused.
#[derive(Clone, Debug)]
pub enum Told {
    /// It is not the one in force: there is a newer one.
    Superseded,
    /// It has been renewed.
    Renewed,
    /// It stays in force, because the one before was refused as well a moment ago.
    Futile,
    /// It stays in force, because it could not be renewed now.
    Unchanged(Option<Unavailable>),
}

/// Why a login was not started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoLogin {
    /// The grant needs none.
    #[error("the grant needs no login")]
    NotNeeded,
    /// The store could not be read, and its contents must not be overwritten.
    #[error("the store cannot be read")]
    Store(Arc<StoreError>),
    /// Nobody logs in until keyfob is unlocked.
    #[error("keyfob is locked")]
    Locked,
    /// The tokens of another login are on their way.
    #[error("another login is about to end")]
    Exchanging,
    /// The account is being closed.
    #[error("the account is being closed")]
    Closing,
}

/// Why what a person pasted is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPaste {
    /// No login waits for it.
    #[error("no login waits for a pasted URL")]
    NotAsked,
    /// It is not what the login waits for.
    #[error("{0}")]
    NotTheRedirect(NotTheRedirect),
}

/// What became of the tokens at the issuer when the user logged out.
#[derive(Clone, Debug)]
pub enum LoggedOut {
    /// There were none.
    NothingHeld,
    /// The issuer was asked to take them back.
    Asked(Result<Revoked, Failure>),
}

impl Entry {
    /// Starts the owner task of an account, which begins when its predecessor has ended.
    pub(super) fn start(
        orders: Orders,
        store: Arc<Store>,
        clock: Clock,
        predecessor: Option<Arc<Self>>,
    ) -> Self {
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let (to_view, view) = watch::channel(Owner::first_view(&orders, &clock));
        let (orders, orders_of_owner) = watch::channel(orders);
        let estate = Estate { store, clock: clock.clone(), view: to_view };
        tokio::spawn(async move {
            if let Some(predecessor) = predecessor {
                predecessor.close();
                predecessor.ended().await;
            }
            succession::run(estate, messages, orders_of_owner).await;
        });
        Self { clock, mailbox, orders, view, rejections: Mutex::default() }
    }

    /// Returns the account at this time.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Returns its settings, as the latest reload has them.
    pub fn account(&self) -> Arc<Account> {
        Arc::clone(&self.orders.borrow().account)
    }

    /// Returns which tokens a request is about. What it leaves open is as the account has it.
    pub fn wanted(
        &self,
        scope: Option<Scope>,
        audience: Option<String>,
        resources: BTreeSet<String>,
    ) -> Wanted {
        // Nearly every request: it costs no copy of the settings.
        if scope.is_none() && audience.is_none() && resources.is_empty() {
            return Wanted::Own;
        }
        let own = self.account().target();
        let target = Target {
            scope: scope.unwrap_or_else(|| own.scope.clone()),
            audience: audience.or_else(|| own.audience.clone()),
            resources: if resources.is_empty() { own.resources.clone() } else { resources },
        };
        if target == own { Wanted::Own } else { Wanted::Other(target) }
    }

    /// Returns a token as it is asked for: from memory if there is one, else by a renewal that all callers share, else
    /// the best that works when `wait` has passed.
    ///
    /// # Errors
    /// Says why there is no token that works.
    pub async fn token(
        &self,
        mut asked: Asked,
        consumer: Option<Consumer>,
        wait: Duration,
    ) -> Result<Served, Refusal> {
        // What was published last is still there where the owner has not heard it yet, or has ended.
        if self.orders.borrow().latch == Latch::Locked {
            return Err(Refusal::Locked);
        }
        let now = self.clock.now().moment;
        let fresh = self.view.borrow().fresh(&asked.wanted, asked.need, now);
        if let Some(served) = fresh {
            asked.refused = self.refused(consumer, &asked, &served, now);
            if asked.refused.is_none() {
                self.see_to_renewal(&asked.wanted, now);
                return Ok(self.given(consumer, &asked, served));
            }
        }
        let served = self.ask(asked.clone(), wait).await?;
        Ok(self.given(consumer, &asked, served))
    }

    /// Tells the owner something; nothing where the account is being closed.
    async fn tell(&self, message: Message) -> Option<()> {
        self.mailbox.send(Box::new(message)).await.ok()
    }

    /// Asks the owner, for the best that works when `wait` has passed.
    async fn ask(&self, asked: Asked, wait: Duration) -> Result<Served, Refusal> {
        let (reply, answer) = oneshot::channel();
        let (wanted, need) = (asked.wanted.clone(), asked.need);
        let asked = async {
            self.tell(Message::Token { asked, reply }).await.ok_or(Refusal::Closing)?;
            answer.await.map_err(|_| Refusal::Closing)?
        };
        match timeout(wait, asked).await {
            Ok(answer) => answer,
            Err(_) => self.view().best(&wanted, need, self.clock.now().moment),
        }
    }

    /// Renews the token in force, if it is the one that a client says was refused, and not more often than helps.
    ///
    /// # Errors
    /// Says why there is no token that works.
    pub async fn rejected(
        &self,
        mut asked: Asked,
        token: TokenHash,
        wait: Duration,
    ) -> Result<Told, Refusal> {
        let now = self.clock.now().moment;
        let served = self.view().best(&asked.wanted, asked.need, now)?;
        if served.tokens.hash(asked.need.kind) != Some(token) {
            return Ok(Told::Superseded);
        }
        let in_force = InForce { token, issued_at: served.tokens.access.issued_at };
        match self.rejections().refuses(&asked.wanted, in_force, now) {
            Verdict::Renew => asked.refused = Some(token),
            Verdict::Serve | Verdict::Futile => return Ok(Told::Futile),
        }
        let kind = asked.need.kind;
        let served = self.ask(asked, wait).await?;
        if served.tokens.hash(kind) == Some(token) {
            Ok(Told::Unchanged(served.stale))
        } else {
            Ok(Told::Renewed)
        }
    }

    /// Returns what could not be mended by renewals, in words, if servers refuse even fresh tokens.
    pub fn warning(&self) -> Option<String> {
        let is_futile = self.rejections().is_futile(self.clock.now().moment);
        is_futile.then(|| {
            "a token that had just been renewed because a server refused it was refused again or not kept: not a matter of \
             renewal (scope, audience, clock?)"
                .to_owned()
        })
    }

    /// Returns the token that the consumer was refused, if what it would be served is that.
    fn refused(
        &self,
        consumer: Option<Consumer>,
        asked: &Asked,
        served: &Served,
        now: Moment,
    ) -> Option<TokenHash> {
        let consumer = consumer?;
        let token = served.tokens.hash(asked.need.kind)?;
        let in_force = InForce { token, issued_at: served.tokens.access.issued_at };
        let verdict = self.rejections().asks(consumer, &asked.wanted, in_force, now);
        match verdict {
            Verdict::Serve | Verdict::Futile => None,
            Verdict::Renew => {
                tracing::info!(account = %self.view.borrow().account.name, "a server seems to have refused a token");
                Some(token)
            }
        }
    }

    /// Notes what a consumer is given.
    fn given(&self, consumer: Option<Consumer>, asked: &Asked, served: Served) -> Served {
        if let (Some(consumer), Some(token)) = (consumer, served.tokens.hash(asked.need.kind)) {
            self.rejections().gives(consumer, &asked.wanted, token, self.clock.now().moment);
        }
        served
    }

    /// The lock is held for the time of one look or note.
    fn rejections(&self) -> MutexGuard<'_, Rejections> {
        // What a panic left half-done is at worst one wrong guess.
        self.rejections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a token for another target renewed that is due: nobody waits for that, and the next who asks gets the new one.
    fn see_to_renewal(&self, wanted: &Wanted, now: Moment) {
        let Wanted::Other(target) = wanted else { return };
        let starts_at = self.view.borrow().state_of(wanted).and_then(TokenState::starts_at);
        if starts_at.is_some_and(|at| at <= now) {
            // Where the owner is too busy to hear it, the next request says it again.
            drop(self.mailbox.try_send(Box::new(Message::RenewAhead { target: target.clone() })));
        }
    }

    /// Starts a login, or joins the one that is pending, and returns the account as it is then.
    ///
    /// # Errors
    /// Says why none can be started.
    pub async fn begin_login(&self, flow: Flow) -> Result<Arc<View>, NoLogin> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::BeginLogin { flow, reply }).await.ok_or(NoLogin::Closing)?;
        answer.await.map_err(|_| NoLogin::Closing)??;
        Ok(self.view())
    }

    /// Signs in with a refresh token that another client obtained, and returns the account as it is at the start of
    /// that: a login in its last step.
    ///
    /// # Errors
    /// Says why it cannot be taken over.
    pub async fn import(&self, refresh: SecretString) -> Result<Arc<View>, NoLogin> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Import { refresh, reply }).await.ok_or(NoLogin::Closing)?;
        answer.await.map_err(|_| NoLogin::Closing)??;
        Ok(self.view())
    }

    /// Gives a pending login the URL that the person's browser was redirected to.
    ///
    /// # Errors
    /// Says why it is of no use. The login goes on.
    pub async fn paste(&self, url: SecretString) -> Result<Arc<View>, NoPaste> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Pasting { reply }).await.ok_or(NoPaste::NotAsked)?;
        let pasting = answer.await.ok().flatten().ok_or(NoPaste::NotAsked)?;
        let (reply, answer) = oneshot::channel();
        // A login that has ended in the meantime waits for nothing any more.
        pasting.send(Pasted { url, reply }).await.map_err(|_| NoPaste::NotAsked)?;
        answer.await.map_err(|_| NoPaste::NotAsked)?.map_err(NoPaste::NotTheRedirect)?;
        Ok(self.view())
    }

    /// Cancels a login that waits for a person. Does nothing where there is none, or where its tokens are on their way.
    pub async fn cancel_login(&self) -> Arc<View> {
        let (reply, answer) = oneshot::channel();
        if self.tell(Message::CancelLogin { reply }).await.is_some() {
            // An owner that ends before it answers has cancelled the login as well.
            drop(answer.await);
        }
        self.view()
    }

    /// Waits until the login has changed since a revision, `wait` at most, and returns the account as it is then.
    pub async fn login_change(&self, after: u64, wait: Duration) -> Arc<View> {
        let mut view = self.view.clone();
        let changed = view.wait_for(|view| view.login_revision > after);
        // Neither the end of the time nor the end of the owner is an error: the answer is the login as it is.
        drop(timeout(wait, changed).await);
        self.view()
    }

    /// Logs out: forgets the tokens here first, then asks the issuer to take them back.
    ///
    /// # Errors
    /// Fails where the store cannot be read or written, and then forgets nothing.
    pub async fn log_out(&self) -> Result<LoggedOut, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::LogOut { reply }).await.ok_or(Refusal::Closing)?;
        let Some(revocation) = answer.await.map_err(|_| Refusal::Closing)?? else {
            return Ok(LoggedOut::NothingHeld);
        };
        Ok(LoggedOut::Asked(revocation.await.unwrap_or_else(|error| {
            tracing::error!(error = abnormal(&error), "a revocation ended abnormally");
            Err(Failure::transient("the revocation ended abnormally: see the daemon's log"))
        })))
    }

    /// Waits until the store has said what the account holds.
    pub(super) async fn loaded(&self) {
        let mut view = self.view.clone();
        // An account that has ended needs no waiting for.
        drop(view.wait_for(|view| !matches!(view.stored, Stored::Unread)).await);
    }

    /// Gives the account other settings for the same tokens.
    pub(super) fn reconfigure(&self, account: Account, source: Arc<dyn TokenSource>) {
        self.orders.send_modify(|orders| {
            orders.account = Arc::new(account);
            orders.source = source;
        });
    }

    /// Lets what is under way finish, then ends the account.
    pub(super) fn close(&self) {
        self.orders.send_modify(|orders| orders.closing = true);
    }

    /// Tells whether the account has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.orders.is_closed()
    }

    /// Waits until the account has ended.
    pub(super) async fn ended(&self) {
        self.orders.closed().await;
    }
}
