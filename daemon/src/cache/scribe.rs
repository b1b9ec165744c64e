//! What is written down about one presentation of a refresh token: the intent before it, the answer after it.
//!
//! The thing to get wrong: a disk that is full must show before the token is spent. With an access token that works there
//! is no hurry then; without one, nobody is helped by waiting, and what comes is kept elsewhere.

use std::sync::Arc;

use keyfob_protocol::account::AccountName;

use crate::cache::attempt::Outcome;
use crate::cache::shelf::call;
use crate::store::{Begun, Intent, Journal, Place, Store, StoreError};
use crate::token::answered::Answered;
use crate::token::failure::{Failure, told};

/// Who writes down what becomes of a refresh token.
pub(super) struct Scribe {
    pub(super) store: Arc<Store>,
    pub(super) account: AccountName,
    pub(super) intent: Intent,
    pub(super) hurry: Hurry,
}

/// Whether a renewal can wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurry {
    /// The access token lives.
    CanWait,
    /// It has expired, or will in a moment.
    CannotWait,
}

/// What has been begun, and goes on.
pub(super) struct Page {
    scribe: Scribe,
    /// Absent where no place could be written.
    journal: Option<Journal>,
}

impl Scribe {
    /// Writes down that the token is about to be presented, or says why it is not.
    pub(super) async fn begin(self) -> Result<Page, Box<Outcome>> {
        let error = match self.open(Place::State).await {
            Ok(Begun::Ready(journal)) => return Ok(Page { scribe: self, journal: Some(journal) }),
            Ok(Begun::Overtaken(record)) => return Err(Box::new(Outcome::Overtaken(*record))),
            Err(error) => error,
        };
        let account = &self.account;
        if self.hurry == Hurry::CanWait {
            let message = format!(
                "the refresh token is not used while its successor could not be stored: {}",
                error.with_remedy()
            );
            return Err(Box::new(Outcome::Unsent(Failure::transient(message))));
        }
        tracing::error!(%account, error = told(&error), "renewing although the state directory cannot be written");
        match self.open(Place::Spill).await {
            Ok(Begun::Ready(journal)) => Ok(Page { scribe: self, journal: Some(journal) }),
            Ok(Begun::Overtaken(record)) => Err(Box::new(Outcome::Overtaken(*record))),
            Err(error) => {
                tracing::error!(%account, error = told(&error), "renewing with nothing written down");
                Ok(Page { scribe: self, journal: None })
            }
        }
    }

    async fn open(&self, place: Place) -> Result<Begun, StoreError> {
        let (account, intent) = (self.account.clone(), self.intent.clone());
        call(&self.store, move |store| store.begin_rotation(&account, &intent, place)).await
    }
}

impl Page {
    /// Writes down what came, unread. Where that fails, what is read of it is all that there is.
    pub(super) async fn record(&mut self, answered: Arc<Answered>) {
        let Some(error) = self.append(Arc::clone(&answered)).await else { return };
        let account = &self.scribe.account;
        tracing::error!(%account, error = told(&error), "the answer of the issuer could not be written down");
        if let Ok(Begun::Ready(journal)) = self.scribe.open(Place::Spill).await {
            self.journal = Some(journal);
            if let Some(error) = self.append(answered).await {
                let account = &self.scribe.account;
                tracing::error!(%account, error = told(&error), "nor could it be written down elsewhere");
            }
        }
    }

    async fn append(&mut self, answered: Arc<Answered>) -> Option<StoreError> {
        let mut journal = self.journal.take()?;
        call(&self.scribe.store, move |_| journal.record(&answered)).await.err()
    }
}
