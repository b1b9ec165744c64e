//! The accounts that run: an [`Entry`] per account, each with its owner task.
//!
//! Nothing here knows the configuration's format or HTTP. [`TokenCache::apply`] turns settings into running accounts,
//! at the start and at every reload.

mod attempt;
pub mod entry;
mod lane;
pub mod lock;
pub mod login;
mod orders;
mod owner;
pub mod pulse;
pub mod rejection;
mod resumption;
mod scribe;
mod shelf;
mod succession;
pub mod variant;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::daemon::ReloadReport;
use tokio::sync::watch;

use crate::account::Account;
use crate::account::registry::{self, Registry, UnknownAccount};
use crate::clock::Clock;
use crate::grant::TokenSource;
use crate::store::Store;

use entry::Entry;
use lock::{Lock, Turns};
use orders::Orders;

/// How long the end of the daemon waits for renewals that are under way: an exchange with an issuer takes 15 s at
/// most, and its outcome must still get to the disk.
const DRAIN: Duration = Duration::from_secs(20);

/// How long a reader of the accounts waits for the store: a little longer than a call over D-Bus may take.
const LOADING: Duration = Duration::from_secs(4);

/// Makes the token source of an account.
pub type Sources = Box<dyn Fn(&Account) -> Arc<dyn TokenSource> + Send + Sync>;

/// All accounts that run.
pub struct TokenCache {
    clock: Clock,
    store: Arc<Store>,
    sources: Sources,
    accounts: watch::Sender<Arc<Running>>,
    /// Held while the accounts change, so that none is begun unlocked while all others are being locked.
    lock: Mutex<Lock>,
    turns: Turns,
}

/// The accounts that run at a time, with their settings.
#[derive(Default)]
struct Running {
    registry: Registry,
    entries: BTreeMap<AccountName, Arc<Entry>>,
    /// Those that are gone from the settings and let what is under way finish. One that comes back waits for its own:
    /// what rests for it until then is about to be replaced.
    leaving: BTreeMap<AccountName, Arc<Entry>>,
}

impl TokenCache {
    /// Returns a cache without accounts.
    pub fn new(store: Arc<Store>, sources: Sources, clock: Clock) -> Self {
        let accounts = watch::Sender::new(Arc::default());
        Self { clock, store, sources, accounts, lock: Mutex::new(Lock::Open), turns: Turns::default() }
    }

    /// Takes over a configuration: starts new accounts, ends those that are gone, and lets the others keep what they
    /// hold. An account whose tokens are bound to other settings now is started anew, after the old one has ended.
    /// While keyfob is locked all are, the new ones as well.
    pub fn apply(&self, registry: Registry) -> ReloadReport {
        let lock = self.lock_state();
        let old = self.accounts.borrow().clone();
        let changes = registry::changes(&old.registry, &registry);
        let mut entries = BTreeMap::new();
        for account in registry.accounts() {
            let source = (self.sources)(account);
            let kept = changes.kept.contains(&account.name);
            let entry = match old.entries.get(&account.name) {
                Some(entry) if kept => {
                    entry.reconfigure(account.clone(), source);
                    Arc::clone(entry)
                }
                predecessor => {
                    let predecessor = predecessor.or_else(|| old.leaving.get(&account.name));
                    let orders = Orders { latch: lock.latch(), ..Orders::new(account.clone(), source) };
                    self.start(orders, predecessor.cloned())
                }
            };
            entries.insert(account.name.clone(), entry);
        }
        let mut leaving = old.leaving.clone();
        leaving.retain(|name, entry| !entries.contains_key(name) && !entry.has_ended());
        for name in &changes.removed {
            if let Some(entry) = old.entries.get(name) {
                entry.close();
                leaving.insert(name.clone(), Arc::clone(entry));
            }
        }
        self.accounts.send_replace(Arc::new(Running { registry, entries, leaving }));
        changes
    }

    /// Finds an account by its name, or by the word for the default account.
    ///
    /// # Errors
    /// Names the nearest account there is.
    pub fn entry(&self, name: &str) -> Result<Arc<Entry>, UnknownAccount> {
        let running = self.accounts.borrow().clone();
        let account = running.registry.find(name)?;
        Ok(Arc::clone(&running.entries[&account.name]))
    }

    /// Returns all accounts, by name.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.accounts.borrow().entries.values().cloned().collect()
    }

    /// Returns all accounts, by name, once the store has said what they hold.
    pub async fn loaded(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries();
        let loaded = async {
            for entry in &entries {
                entry.loaded().await;
            }
        };
        // A store that does not answer in time shows in the views.
        drop(tokio::time::timeout(LOADING, loaded).await);
        entries
    }

    /// Returns the name of the default account.
    pub fn default_account(&self) -> Option<AccountName> {
        self.accounts.borrow().registry.default_account().cloned()
    }

    /// Returns the store that the accounts rest in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the clock that the accounts live by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Ends all accounts: lets renewals that are under way finish and be stored, and starts none.
    pub async fn shut_down(&self) {
        let running = self.accounts.borrow().clone();
        for entry in running.entries.values() {
            entry.close();
        }
        let ended = async {
            for entry in running.entries.values().chain(running.leaving.values()) {
                entry.ended().await;
            }
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "gave up waiting for renewals that are under way");
        }
    }

    fn start(&self, orders: Orders, predecessor: Option<Arc<Entry>>) -> Arc<Entry> {
        Arc::new(Entry::start(orders, Arc::clone(&self.store), self.clock.clone(), predecessor))
    }

    /// The lock is held for the time of one look or change.
    fn lock_state(&self) -> MutexGuard<'_, Lock> {
        // No code that holds it can leave it half changed.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
