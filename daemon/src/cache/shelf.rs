//! One account's place in the store: which generation lies there, and whether memory and disk agree.
//!
//! A store that cannot be read is not an empty one: until it has been read, nothing may be written over it.

use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::cache::lock::Latch;
use crate::cache::scribe::{Hurry, Scribe};
use crate::cache::view::Stored;
use crate::clock::{Clock, Moment};
use crate::store::{Adopted, Intent, Left, Place, Record, Store, StoreError};
use crate::token::failure::{abnormal, told};
use crate::token::rotation::Doubt;
use crate::token::state::{Held, SignedOut};
use crate::token::{RefreshToken, TokenSet};

/// How long after a failure the store is written, or read, again.
const RETRY: Duration = Duration::from_secs(5);

/// One account's place in the store.
pub(super) struct Shelf {
    store: Arc<Store>,
    clock: Clock,
    generation: u64,
    stored: Stored,
    retry_at: Option<Moment>,
    /// Whether something may be written down about a renewal.
    rotation: Written,
}

/// What is known of the refresh token beside what is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    /// Whether it may have been spent.
    pub(super) doubt: Option<Doubt>,
    /// Why it is gone, if it is.
    pub(super) ended: Option<SignedOut>,
}

/// Whether something is written down about a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Nothing,
    Perhaps,
}

impl Shelf {
    pub(super) fn new(store: Arc<Store>, clock: Clock, latch: Latch) -> Self {
        let stored = unread(latch);
        Self { store, clock, generation: 0, stored, retry_at: None, rotation: Written::Nothing }
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Returns the error that keeps the store from being read, if there is one.
    pub(super) fn unreadable(&self) -> Option<&Arc<StoreError>> {
        match &self.stored {
            Stored::Unreadable(error) => Some(error),
            Stored::Unread | Stored::Durable | Stored::Volatile(_) | Stored::Locked => None,
        }
    }

    /// Tells whether nothing is to be read until keyfob is unlocked.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self.stored, Stored::Locked)
    }

    /// Takes note that all that was held has been forgotten, or that it may be read again.
    pub(super) fn turn(&mut self, latch: Latch) {
        self.settle(unread(latch));
    }

    /// Returns when the store should be tried again, if there is need to.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Reads what the account held when it was last written, if that is bound to the same settings.
    pub(super) async fn load(&mut self, account: &Account) -> Option<(TokenSet, Option<SignedOut>)> {
        let name = account.name.clone();
        let turn = self.store.reading().await;
        let read = move |store: &Store| {
            let record = store.load(&name);
            drop(turn);
            record
        };
        match self.call(read).await {
            Ok(record) => {
                // What is not used is not to be replaced either.
                self.settle(Stored::Durable);
                let record = record?;
                self.generation = record.generation;
                if record.fingerprint == account.fingerprint() {
                    if record.place == Place::Spill {
                        self.settle(Stored::Volatile(Arc::new(StoreError::Spilled)));
                    }
                    return Some((record.tokens, record.ended));
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

    /// Makes the disk say what the account holds, and what is known of a refresh token that may have been spent. Where that
    /// fails it is to be tried again.
    pub(super) async fn save(&mut self, account: &Account, held: &Held, fate: Fate) {
        let doubt = fate.doubt;
        let outcome = match held {
            Held::SignedIn(tokens) => self.put(account, (**tokens).clone(), fate).await,
            Held::SignedOut(_) => self.take_off(account).await,
        };
        match outcome {
            Ok(()) => {
                if let Stored::Volatile(_) = self.stored {
                    tracing::info!(account = %account.name, "the store has what is held in memory again");
                }
                self.settle(Stored::Durable);
                if doubt.is_none() {
                    self.end_rotation(account).await;
                }
            }
            Err(error) => {
                self.complain(account, &error);
                self.spill(account, held, fate).await;
                self.settle(Stored::Volatile(Arc::new(error)));
            }
        }
    }

    /// Returns who writes down what becomes of a refresh token.
    pub(super) fn scribe(
        &mut self,
        account: &Account,
        refresh: &RefreshToken,
        doubt: Doubt,
        hurry: Hurry,
    ) -> Scribe {
        self.rotation = Written::Perhaps;
        let intent = self.intent(account, refresh, doubt);
        Scribe { store: Arc::clone(&self.store), account: account.name.clone(), intent, hurry }
    }

    /// Returns who writes down what becomes of a refresh token of another client, once that is known. There is no hurry: it
    /// is safe where it is.
    pub(super) fn scribe_of_import(
        &mut self,
        account: &Account,
        displaced: Option<Doubt>,
    ) -> impl FnOnce(&RefreshToken) -> Scribe + Send + use<> {
        self.rotation = Written::Perhaps;
        let (store, name, generation) = (Arc::clone(&self.store), account.name.clone(), self.generation);
        let (fingerprint, doubt) = (account.fingerprint(), Doubt::after(None, self.clock.now().moment));
        move |refresh| {
            let adopted = Some(Adopted { refresh: refresh.clone(), displaced });
            let intent = Intent { generation, fingerprint, token_hash: refresh.hash(), doubt, adopted };
            Scribe { store, account: name, intent, hurry: Hurry::CanWait }
        }
    }

    /// Returns what is written down about a renewal that has no outcome.
    pub(super) async fn left(&mut self, account: &Account) -> Result<Option<Left>, StoreError> {
        let name = account.name.clone();
        let left = self.call(move |store| store.left_rotation(&name)).await;
        self.rotation = if let Ok(None) = left { Written::Nothing } else { Written::Perhaps };
        if let Ok(Some(left)) = &left {
            // What comes of it must be later, also where no record lies beside it.
            self.generation = self.generation.max(left.intent.generation);
        }
        left
    }

    /// Takes the store for one that cannot be read: part of what it has is unknown.
    pub(super) fn distrust(&mut self, error: StoreError) {
        self.settle(Stored::Unreadable(Arc::new(error)));
    }

    /// Takes off what is written down about a renewal: its outcome is known, and where it matters it is safe.
    pub(super) async fn end_rotation(&mut self, account: &Account) {
        if self.rotation == Written::Nothing {
            return;
        }
        let name = account.name.clone();
        match self.call(move |store| store.end_rotation(&name)).await {
            Ok(()) => self.rotation = Written::Nothing,
            Err(error) => {
                tracing::warn!(account = %account.name, error = told(&error), "what was written down about a renewal stays");
            }
        }
    }

    /// Takes a presentation back that spent nothing: what is written down is what was known before it.
    pub(super) async fn withdraw(
        &mut self,
        account: &Account,
        refresh: &RefreshToken,
        earlier: Option<Doubt>,
    ) {
        let Some(doubt) = earlier else { return self.end_rotation(account).await };
        let intent = self.intent(account, refresh, doubt);
        let name = account.name.clone();
        let begun = self.call(move |store| store.begin_rotation(&name, &intent, Place::State)).await;
        if let Err(error) = begun {
            tracing::warn!(account = %account.name, error = told(&error), "a renewal that spent nothing counts as one that may have");
        }
    }

    /// Returns what rests, if it is later than what is held.
    pub(super) async fn later(&mut self, account: &Account) -> Option<Record> {
        let name = account.name.clone();
        let record = self.call(move |store| store.load(&name)).await.ok().flatten()?;
        (record.generation > self.generation).then_some(record)
    }

    /// Takes over the tokens of a record that is later than what is held, if they are bound to the same settings.
    pub(super) fn adopt(&mut self, account: &Account, record: Record) -> Option<TokenSet> {
        self.generation = record.generation;
        (record.fingerprint == account.fingerprint()).then_some(record.tokens)
    }

    fn intent(&self, account: &Account, refresh: &RefreshToken, doubt: Doubt) -> Intent {
        Intent {
            generation: self.generation,
            fingerprint: account.fingerprint(),
            token_hash: refresh.hash(),
            doubt,
            adopted: None,
        }
    }

    async fn put(
        &mut self,
        account: &Account,
        tokens: TokenSet,
        Fate { doubt, ended }: Fate,
    ) -> Result<(), StoreError> {
        self.generation += 1;
        self.carry_over(account, &tokens, doubt, Place::State).await?;
        let (generation, fingerprint) = (self.generation, account.fingerprint());
        let record = Record { generation, fingerprint, tokens, ended, place: Place::State };
        let name = account.name.clone();
        self.call(move |store| store.save(&name, &record)).await
    }

    /// Writes down what is known of a refresh token that may have been spent, for the generation that it is about to be of:
    /// what is written about an earlier one counts for nothing.
    async fn carry_over(
        &mut self,
        account: &Account,
        tokens: &TokenSet,
        doubt: Option<Doubt>,
        place: Place,
    ) -> Result<(), StoreError> {
        let Some((refresh, doubt)) = tokens.refresh.as_ref().zip(doubt) else { return Ok(()) };
        self.rotation = Written::Perhaps;
        let (name, intent) = (account.name.clone(), self.intent(account, refresh, doubt));
        self.call(move |store| store.begin_rotation(&name, &intent, place)).await.map(drop)
    }

    /// Says once that the disk does not have what is held.
    fn complain(&self, account: &Account, error: &StoreError) {
        if !matches!(self.stored, Stored::Volatile(_)) {
            tracing::error!(account = %account.name, error = told(error), "the store does not have what is held in memory");
        }
    }

    /// Keeps tokens in another place than the one that cannot be written.
    async fn spill(&mut self, account: &Account, held: &Held, Fate { doubt, ended }: Fate) {
        let Held::SignedIn(tokens) = held else { return };
        if let Err(error) = self.carry_over(account, tokens, doubt, Place::Spill).await {
            tracing::debug!(account = %account.name, error = told(&error), "what is known of a lost answer would end with the daemon");
        }
        let (generation, fingerprint) = (self.generation, account.fingerprint());
        let tokens = (**tokens).clone();
        let record = Record { generation, fingerprint, tokens, ended, place: Place::Spill };
        let name = account.name.clone();
        let spilled = self.call(move |store| store.spill(&name, &record)).await;
        if let (Err(error), false) = (spilled, matches!(self.stored, Stored::Volatile(_))) {
            tracing::error!(account = %account.name, error = told(&error), "what is held would end with the daemon");
        }
    }

    async fn take_off(&self, account: &Account) -> Result<(), StoreError> {
        let name = account.name.clone();
        self.call(move |store| store.delete(&name)).await
    }

    /// Takes what the account held off the disk.
    pub(super) async fn delete(&mut self, account: &Account) -> Result<(), Arc<StoreError>> {
        self.take_off(account).await?;
        if !self.is_locked() {
            self.settle(Stored::Durable);
        }
        Ok(())
    }

    fn settle(&mut self, stored: Stored) {
        self.retry_at = match stored {
            Stored::Unread | Stored::Durable | Stored::Locked => None,
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

/// Returns what is known of an account of which nothing has been read.
pub(super) fn unread(latch: Latch) -> Stored {
    match latch {
        Latch::Open => Stored::Unread,
        Latch::Locked => Stored::Locked,
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
            tracing::error!(error = abnormal(&error), "a call of the store ended abnormally");
            Err(StoreError::Abandoned)
        }
    }
}
