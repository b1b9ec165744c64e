//! Locking: every account forgets what it holds, and so does the store its key, until it is unlocked.
//!
//! All of it or nothing: first every account says that what it holds is on disk and nothing is under way, then all forget.
//! The thing to get wrong is the other order. What is locked holds no secret that could be read out of memory; it does not
//! keep out a program of the same user, which may unlock it where that takes no passphrase.

pub(crate) mod passphrase;

use std::sync::Arc;
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::daemon::KeyKind;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::entry::Entry;
use crate::cache::entry::lock::Ready;
use crate::cache::lock::passphrase::{Hashed, Unhashed, pause_after};
use crate::cache::shelf::call;
use crate::cache::{Running, TokenCache};
use crate::store::StoreError;
use crate::token::state::Held;

/// How long what is under way may take to end: as at the end of the daemon.
const PATIENCE: Duration = super::DRAIN;

/// How long the accounts may take to forget, or to read what rests: they touch the disk at most.
const TURNING: Duration = super::LOADING;

/// Attempts to lock or unlock that wait for their turn, with the one whose turn it is: more than people make, and no more
/// than that, since each that is wrong makes the others wait.
const MAX_ATTEMPTS: usize = 8;

/// Whether anything is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// It is.
    Open,
    /// Nothing is held, and so nothing is handed out.
    Locked,
}

/// Whether keyfob is locked, and what it takes to unlock it.
#[derive(Debug)]
pub(super) enum Lock {
    Open,
    Locked {
        passphrase: Option<Arc<Hashed>>,
        /// How many passphrases in a row were wrong.
        failures: u32,
    },
}

impl Lock {
    pub(super) fn latch(&self) -> Latch {
        match self {
            Self::Open => Latch::Open,
            Self::Locked { .. } => Latch::Locked,
        }
    }
}

/// The turns that attempts to lock and unlock take.
#[derive(Debug)]
pub(super) struct Turns {
    waiting: Semaphore,
    turn: tokio::sync::Mutex<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { waiting: Semaphore::new(MAX_ATTEMPTS), turn: tokio::sync::Mutex::default() }
    }
}

/// Why an account cannot forget what it holds.
#[derive(Clone, Debug)]
pub(super) enum Unready {
    /// The disk does not have it.
    Volatile(Arc<StoreError>),
    /// The account is being closed.
    Closing,
}

/// Why keyfob was not locked. Nothing has changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotLocked {
    /// The store keeps nothing on disk.
    #[error("the tokens are in memory alone")]
    InMemory {
        /// An account that would lose its tokens, if there is one.
        account: Option<AccountName>,
    },
    /// The disk does not have what an account holds.
    #[error("the tokens of {account} are not on disk")]
    Volatile {
        /// The account.
        account: AccountName,
        /// Why.
        why: Arc<StoreError>,
    },
    /// A renewal or a login takes too long.
    #[error("a renewal or a login of {account} is still under way")]
    Busy {
        /// Of this account.
        account: AccountName,
    },
    /// The accounts change, or end.
    #[error("the accounts are changing")]
    Changing,
    /// It is locked already, and what unlocking takes has not changed.
    #[error("keyfob is locked already")]
    Already,
    /// Too many attempts wait for their turn.
    #[error("too many attempts are waiting")]
    Crowded,
    /// The passphrase could not be hashed.
    #[error(transparent)]
    Unhashed(#[from] Unhashed),
}

/// Why keyfob was not unlocked. It is as locked as before then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotUnlocked {
    /// It takes a passphrase.
    #[error("unlocking takes the passphrase that keyfob was locked with")]
    PassphraseNeeded,
    /// It takes another passphrase.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The store's key is not at hand.
    #[error("the store cannot be read")]
    Store(Arc<StoreError>),
    /// Too many attempts wait for their turn.
    #[error("too many attempts are waiting")]
    Crowded,
    /// The passphrase could not be hashed.
    #[error(transparent)]
    Unhashed(#[from] Unhashed),
}

impl TokenCache {
    /// Tells whether keyfob is locked, and whether unlocking takes a passphrase. Waits for nothing.
    pub fn lock_status(&self) -> (Latch, bool) {
        match &*self.lock_state() {
            Lock::Open => (Latch::Open, false),
            Lock::Locked { passphrase, .. } => (Latch::Locked, passphrase.is_some()),
        }
    }

    /// Forgets the tokens of every account and the store's key. Unlocking takes the passphrase, if there is one. Must not be
    /// dropped half-way.
    ///
    /// # Errors
    /// Says why nothing was forgotten.
    pub async fn lock(&self, passphrase: Option<SecretString>) -> Result<(), NotLocked> {
        let _waiting = self.turns.waiting.try_acquire().map_err(|_| NotLocked::Crowded)?;
        let _turn = self.turns.turn.lock().await;
        if self.lock_state().latch() == Latch::Locked {
            return if passphrase.is_some() { Err(NotLocked::Already) } else { Ok(()) };
        }
        let passphrase = match passphrase {
            Some(passphrase) => Some(Arc::new(Hashed::of(passphrase).await?)),
            None => None,
        };
        let running = self.accounts.borrow().clone();
        if self.store.status().key == KeyKind::Memory {
            let now = self.clock.now().moment;
            let holds = |entry: &&Arc<Entry>| matches!(entry.view().state.held(now), Held::SignedIn(_));
            let holder = running.entries.values().find(holds);
            let account = holder.map(|entry| entry.view().account.name.clone());
            return Err(NotLocked::InMemory { account });
        }
        let ready = prepare(&running).await?;
        {
            let mut lock = self.lock_state();
            if !Arc::ptr_eq(&running, &self.accounts.borrow()) {
                return Err(NotLocked::Changing);
            }
            *lock = Lock::Locked { passphrase, failures: 0 };
            for account in ready {
                account.forget();
            }
        }
        all_turned(&running, Latch::Locked).await;
        let withheld = call(&self.store, |store| {
            store.withhold_key();
            Ok(())
        });
        if let Err(error) = withheld.await {
            tracing::error!(%error, "the store's key may still be in memory");
        }
        tracing::info!("locked");
        Ok(())
    }

    /// Has every account take up again what rests on disk. Must not be dropped half-way.
    ///
    /// # Errors
    /// Says why everything is as locked as before.
    pub async fn unlock(&self, passphrase: Option<SecretString>) -> Result<(), NotUnlocked> {
        let _waiting = self.turns.waiting.try_acquire().map_err(|_| NotUnlocked::Crowded)?;
        let _turn = self.turns.turn.lock().await;
        let hashed = match &*self.lock_state() {
            Lock::Open => return Ok(()),
            Lock::Locked { passphrase, .. } => passphrase.clone(),
        };
        match (hashed, passphrase) {
            (None, _) => {}
            (Some(_), None) => return Err(NotUnlocked::PassphraseNeeded),
            (Some(hashed), Some(passphrase)) => {
                if !hashed.is_of(passphrase).await? {
                    self.slow_down().await;
                    return Err(NotUnlocked::WrongPassphrase);
                }
            }
        }
        let recalled = call(&self.store, |store| store.recall_key()).await;
        recalled.map_err(|error| NotUnlocked::Store(Arc::new(error)))?;
        let running = {
            let mut lock = self.lock_state();
            *lock = Lock::Open;
            let running = self.accounts.borrow().clone();
            for entry in running.entries.values() {
                entry.turn(Latch::Open);
            }
            running
        };
        all_turned(&running, Latch::Open).await;
        tracing::info!("unlocked");
        Ok(())
    }

    /// Makes whoever tries passphrases wait, each time longer.
    async fn slow_down(&self) {
        let failures = match &mut *self.lock_state() {
            Lock::Open => return,
            Lock::Locked { failures, .. } => {
                *failures = failures.saturating_add(1);
                *failures
            }
        };
        tracing::warn!(failures, "a wrong passphrase");
        self.clock.sleep_until(self.clock.now().moment.after(pause_after(failures))).await;
    }
}

/// Lets what is under way end, and makes sure that every account can forget.
async fn prepare(running: &Running) -> Result<Vec<Ready>, NotLocked> {
    let mut busy = None;
    let prepared = async {
        let mut pending = Vec::new();
        for (name, entry) in &running.entries {
            busy = Some(name.clone());
            let asked = Arc::clone(entry).prepare_lock().await;
            pending.push((name, asked.map_err(|unready| explain(unready, name))?));
        }
        for (name, entry) in &running.leaving {
            busy = Some(name.clone());
            entry.ended().await;
        }
        let mut ready = Vec::new();
        for (name, account) in pending {
            busy = Some(name.clone());
            ready.push(account.ready().await.map_err(|unready| explain(unready, name))?);
        }
        Ok(ready)
    };
    match timeout(PATIENCE, prepared).await {
        Ok(prepared) => prepared,
        Err(_) => Err(busy.map_or(NotLocked::Changing, |account| NotLocked::Busy { account })),
    }
}

fn explain(unready: Unready, account: &AccountName) -> NotLocked {
    match unready {
        Unready::Volatile(why) => NotLocked::Volatile { account: account.clone(), why },
        Unready::Closing => NotLocked::Changing,
    }
}

/// Waits until every account has forgotten, or has read what rests.
async fn all_turned(running: &Running, latch: Latch) {
    let turned = async {
        for entry in running.entries.values() {
            entry.turned(latch).await;
        }
    };
    if timeout(TURNING, turned).await.is_err() {
        tracing::warn!(?latch, "an account takes its time to take note");
    }
}
