//! One account's place in the store: which generation lies there, and whether memory and disk agree.
//!
//! A store that cannot be read is not an empty one: until it has been read, nothing may be written over it.

use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::cache::view::Stored;
use crate::clock::{Clock, Moment};
use crate::store::{Record, Store, StoreError};
use crate::token::TokenSet;
use crate::token::failure::told;
use crate::token::state::Held;

/// How long after a failure the store is written, or read, again.
const RETRY: Duration = Duration::from_secs(5);

/// One account's place in the store.
pub(super) struct Shelf {
    store: Arc<Store>,
    clock: Clock,
    generation: u64,
    stored: Stored,
    retry_at: Option<Moment>,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock, generation: 0, stored: Stored::Unread, retry_at: None }
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Returns the error that keeps the store from being read, if there is one.
    pub(super) fn unreadable(&self) -> Option<&Arc<StoreError>> {
        match &self.stored {
            Stored::Unreadable(error) => Some(error),
            Stored::Unread | Stored::Durable | Stored::Volatile(_) => None,
        }
    }

    /// Returns when the store should be tried again, if there is need to.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Reads what the account held when it was last written, if that is bound to the same settings.
    pub(super) async fn load(&mut self, account: &Account) -> Option<TokenSet> {
        let name = account.name.clone();
        match self.call(move |store| store.load(&name)).await {
            Ok(record) => {
                self.settle(Stored::Durable);
                let record = record?;
                self.generation = record.generation;
                if record.fingerprint == account.fingerprint() {
                    return Some(record.tokens);
                }
                tracing::warn!(account = %account.name, "the stored login belongs to other settings: not used");
            }
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(account = %account.name, error = told(&error), "starting without a login");
                self.settle(Stored::Durable);
            }
            Err(error) => {
                tracing::warn!(account = %account.name, error = told(&error), "the store cannot be read");
                self.settle(Stored::Unreadable(Arc::new(error)));
            }
        }
        None
    }

    /// Makes the disk say what the account holds. Where that fails it is to be tried again.
    pub(super) async fn save(&mut self, account: &Account, held: &Held) {
        let outcome = match held {
            Held::SignedIn(tokens) => self.put(account, (**tokens).clone()).await,
            Held::SignedOut(_) => self.take_off(account).await,
        };
        match outcome {
            Ok(()) => self.settle(Stored::Durable),
            Err(error) => {
                tracing::error!(account = %account.name, error = told(&error), "the store does not have what is held in memory");
                self.settle(Stored::Volatile(Arc::new(error)));
            }
        }
    }

    async fn put(&mut self, account: &Account, tokens: TokenSet) -> Result<(), StoreError> {
        self.generation += 1;
        let record = Record { generation: self.generation, fingerprint: account.fingerprint(), tokens };
        let name = account.name.clone();
        self.call(move |store| store.save(&name, &record)).await
    }

    async fn take_off(&self, account: &Account) -> Result<(), StoreError> {
        let name = account.name.clone();
        self.call(move |store| store.delete(&name)).await
    }

    /// Takes what the account held off the disk.
    pub(super) async fn delete(&mut self, account: &Account) -> Result<(), Arc<StoreError>> {
        self.take_off(account).await?;
        self.settle(Stored::Durable);
        Ok(())
    }

    fn settle(&mut self, stored: Stored) {
        self.retry_at = match stored {
            Stored::Unread | Stored::Durable => None,
            Stored::Unreadable(_) | Stored::Volatile(_) => Some(self.clock.now().moment.after(RETRY)),
        };
        self.stored = stored;
    }

    async fn call<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        call(&self.store, what).await
    }
}

/// Calls the store on a thread where it may block.
pub(super) async fn call<T: Send + 'static>(
    store: &Arc<Store>,
    what: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(store);
    match tokio::task::spawn_blocking(move || what(&store)).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a call of the store ended abnormally");
            Err(StoreError::Abandoned)
        }
    }
}
