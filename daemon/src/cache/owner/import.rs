//! The owner's part in imports: taking over a refresh token of another client, and going on with that after a crash.
//!
//! It goes the way of a renewal, for what it brings may be the only refresh token that works, here and where it came from.
//! The thing to get wrong: what the account holds, and what is known of that, is as it was until the new login is on disk.

use std::sync::Arc;

use secrecy::SecretString;

use crate::cache::attempt::Outcome;
use crate::cache::entry::NoLogin;
use crate::cache::login::LoginProgress;
use crate::cache::owner::Owner;
use crate::cache::owner::outcome::lost;
use crate::grant::Unread;
use crate::store::{Adopted, Intent, Left};
use crate::token::answered::Answered;
use crate::token::failure::Failure;

impl Owner {
    /// Takes over a refresh token of another client, in place of a login that waits for a person. Not while tokens are on
    /// their way: they may come of the very same refresh token, which must not be presented twice.
    pub(super) fn import(&mut self, refresh: SecretString) -> Result<(), NoLogin> {
        self.can_log_in()?;
        if self.is_exchanging() || self.is_importing() {
            return Err(NoLogin::Exchanging);
        }
        self.end_login(LoginProgress::Cancelled);
        self.next_import = Some((Arc::clone(&self.source), refresh));
        self.set_login(LoginProgress::Exchanging);
        self.start_import();
        Ok(())
    }

    /// Tells whether an import is under way, or to come.
    pub(super) fn is_importing(&self) -> bool {
        self.next_import.is_some() || self.attempts.is_importing()
    }

    /// Starts an import that is to come, unless something is under way: there is one journal.
    pub(super) fn start_import(&mut self) {
        if self.attempts.is_empty()
            && let Some((source, refresh)) = self.next_import.take()
        {
            let displaced = self.own.state.doubted().map(|(_, doubt)| doubt);
            let scribe = self.shelf.scribe_of_import(&self.account, displaced);
            self.attempts.start_import(source.adopt(refresh), scribe);
        }
    }

    /// Takes in what came of an import.
    pub(super) async fn conclude_import(&mut self, outcome: Option<Outcome>) {
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => self.recover_import().await,
        };
        match outcome {
            Outcome::Renewed(tokens) => {
                self.adopt(tokens).await;
                self.begin_anew();
                tracing::info!(account = %self.account.name, "signed in");
                self.set_login(LoginProgress::SignedIn);
            }
            Outcome::Overtaken(record) => {
                self.adopt_later(record).await;
                self.fail_import(Failure::transient("the account has other tokens now: import again")).await;
            }
            Outcome::Failed(Unread { failure, successor: Some(_) }) => {
                // A record needs an access token, so there is nothing to keep it beside.
                let message = format!("{failure}; the other client's session is spent all the same: log in");
                self.fail_import(Failure::Ambiguous { message: message.into() }).await;
            }
            Outcome::Unsent(failure) | Outcome::Failed(Unread { failure, successor: None }) => {
                self.fail_import(failure).await;
            }
        }
    }

    /// Takes in that an import came to nothing: what is written down is what was known before it.
    async fn fail_import(&mut self, failure: Failure) {
        tracing::warn!(account = %self.account.name, %failure, "an import failed");
        match self.own.state.doubted() {
            Some((held, doubt)) => self.shelf.withdraw(&self.account, held, Some(doubt)).await,
            None => self.shelf.end_rotation(&self.account).await,
        }
        self.set_login(LoginProgress::Failed(failure));
    }

    /// Goes on with an import that an earlier daemon began and whose outcome it did not get to store.
    pub(super) async fn take_up_import(&mut self, adopted: Adopted, answered: Option<Answered>) {
        tracing::info!(account = %self.account.name, "going on with an import that had no outcome");
        if let (Some(doubt), Some(_)) = (adopted.displaced, self.own.state.refresh_token()) {
            self.lose_answer(
                Failure::Ambiguous { message: "the answer to a renewal got lost".into() },
                doubt,
            );
        }
        let outcome = self.replay_import(&adopted, answered).await;
        self.conclude_import(Some(outcome)).await;
        // It took the place of a login that waited for a person.
        self.resumption.erase(&self.account).await;
    }

    /// Finds out what an import of this daemon came to that ended abnormally.
    async fn recover_import(&mut self) -> Outcome {
        const ENDED: &str = "the import ended abnormally: see the daemon's log";
        match self.shelf.left(&self.account).await {
            Ok(Some(Left { intent: Intent { adopted: Some(adopted), .. }, answered })) => {
                self.replay_import(&adopted, answered).await
            }
            // It wrote nothing down.
            Ok(Some(_) | None) => Outcome::Unsent(Failure::transient(ENDED)),
            Err(_) => lost(ENDED),
        }
    }

    async fn replay_import(&self, adopted: &Adopted, answered: Option<Answered>) -> Outcome {
        let Some(answered) = answered else {
            return lost(
                "the daemon ended before the answer to an import arrived, which may have spent the other client's session: \
                 import it again, or log in",
            );
        };
        self.reread(answered, adopted.refresh.clone()).await.keeping(&adopted.refresh)
    }
}
