//! The renewals that are under way, each in a task of its own.
//!
//! They can be waited for and left again at any time. The thing to get wrong: an attempt whose outcome does not matter
//! any more still runs to its end, because what it brings has to be given back.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::task::JoinHandle;

use crate::grant::{Renewal, Rotation, TokenSource, Wanted};
use crate::token::failure::Failure;
use crate::token::{RefreshToken, TokenSet};

/// A renewal that is under way.
pub(super) struct Attempt {
    task: JoinHandle<Result<TokenSet, Failure>>,
    /// What it is to bring.
    pub(super) wanted: Wanted,
    /// What it is made with.
    pub(super) refresh: Option<RefreshToken>,
    /// Whether its outcome still matters: not after a login or a logout in the meantime.
    pub(super) is_current: bool,
}

/// The renewals that are under way: one at most for each target, and for a login one in all.
#[derive(Default)]
pub(super) struct Attempts(Vec<Attempt>);

impl Attempts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether one is under way for this target.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        self.0.iter().any(|attempt| attempt.wanted == *wanted)
    }

    pub(super) fn start(
        &mut self,
        source: &Arc<dyn TokenSource>,
        wanted: Wanted,
        refresh: Option<RefreshToken>,
    ) {
        let renewal = source.renew(refresh.clone(), wanted.clone());
        let task = tokio::spawn(async move {
            match renewal.await? {
                Renewal::Obtained(tokens) => Ok(tokens),
                Renewal::Ready(Rotation { send, read }) => {
                    read(&send.await?).map_err(|unread| unread.failure)
                }
            }
        });
        self.0.push(Attempt { task, wanted, refresh, is_current: true });
    }

    /// Lets the outcomes of all that are under way not matter any more.
    pub(super) fn overtake(&mut self) {
        for attempt in &mut self.0 {
            attempt.is_current = false;
        }
    }

    /// Waits for the outcome of one, for ever if there is none.
    pub(super) async fn finished(&mut self) -> (Attempt, Result<TokenSet, Failure>) {
        let (index, outcome) = poll_fn(|context| {
            for (index, attempt) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = Pin::new(&mut attempt.task).poll(context) {
                    return Poll::Ready((index, outcome));
                }
            }
            Poll::Pending
        })
        .await;
        let outcome = outcome.unwrap_or_else(|error| {
            tracing::error!(%error, "a renewal ended abnormally");
            Err(Failure::transient("the renewal ended abnormally: see the daemon's log"))
        });
        (self.0.swap_remove(index), outcome)
    }
}
