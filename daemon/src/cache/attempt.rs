//! The renewals that are under way, and imports, each in a task of its own.
//!
//! They can be waited for and left again at any time. The thing to get wrong: an attempt that has presented a refresh token
//! runs to its end whoever hangs up and whatever is reloaded, because what it brings may be the only one that works. Until
//! then nothing is spent, and it can be let go.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::scribe::Scribe;
use crate::failpoint::{self, Point};
use crate::grant::{Adoption, Pending, Renewal, Rotation, TokenSource, Unread, Wanted};
use crate::store::Record;
use crate::token::failure::{Failure, abnormal};
use crate::token::rotation::Doubt;
use crate::token::{RefreshToken, TokenSet};

/// A renewal that is under way, or an import.
pub(super) struct Attempt {
    task: JoinHandle<Outcome>,
    /// Lets it go where nothing has been sent.
    release: watch::Sender<bool>,
    /// Why it is made.
    pub(super) occasion: Occasion,
    /// Whether its outcome still matters: not after a login or a logout in the meantime.
    pub(super) is_current: bool,
}

/// Why an attempt is made.
#[derive(Clone, Debug)]
pub(super) enum Occasion {
    /// To renew what is held, or to obtain more by it.
    Renewal(Errand),
    /// To take over what another client holds.
    Import,
}

/// What a renewal is about.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    /// What it is to bring.
    pub(super) wanted: Wanted,
    /// What it is made with.
    pub(super) refresh: Option<RefreshToken>,
    /// What was known of that before.
    pub(super) earlier: Option<Doubt>,
    /// What will be known of it if the outcome is lost.
    pub(super) doubt: Doubt,
}

/// What an attempt came to.
pub(super) enum Outcome {
    /// The tokens.
    Renewed(TokenSet),
    /// What rests is later than what we hold: somebody else has renewed, or put it there.
    Overtaken(Record),
    /// It failed, and the refresh token was not presented.
    Unsent(Failure),
    /// It failed, and the refresh token was presented.
    Failed(Unread),
}

impl Outcome {
    /// Lets tokens that came without a refresh token keep the one that was presented (RFC 6749 §6).
    pub(super) fn keeping(self, presented: &RefreshToken) -> Self {
        match self {
            Self::Renewed(tokens) => Self::Renewed(tokens.keeping(Some(presented.clone()))),
            Self::Overtaken(_) | Self::Unsent(_) | Self::Failed(_) => self,
        }
    }
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
        let is_for = |errand: &Errand| errand.wanted == *wanted;
        self.0.iter().any(|attempt| matches!(&attempt.occasion, Occasion::Renewal(errand) if is_for(errand)))
    }

    /// Starts a renewal.
    pub(super) fn start(&mut self, source: &Arc<dyn TokenSource>, errand: Errand, scribe: Option<Scribe>) {
        let renewal = source.renew(errand.refresh.clone(), errand.wanted.clone());
        let ready = async move {
            Ok(match renewal.await? {
                Renewal::Obtained(tokens) => Box::pin(ready(Outcome::Renewed(*tokens))) as Pending<Outcome>,
                Renewal::Ready(rotation) => Box::pin(rotate(rotation, scribe)),
            })
        };
        self.push(Occasion::Renewal(errand), ready);
    }

    /// Starts to take over a refresh token of another client.
    pub(super) fn start_import(
        &mut self,
        adoption: Adoption,
        scribe: impl FnOnce(&RefreshToken) -> Scribe + Send + 'static,
    ) {
        let ready = async move {
            let (refresh, rotation) = adoption.await?;
            let scribe = scribe(&refresh);
            let outcome = async move { rotate(rotation, Some(scribe)).await.keeping(&refresh) };
            Ok(Box::pin(outcome) as Pending<Outcome>)
        };
        self.push(Occasion::Import, ready);
    }

    /// Starts what gets ready, and can be let go until it is.
    fn push(
        &mut self,
        occasion: Occasion,
        ready: impl Future<Output = Result<Pending<Outcome>, Failure>> + Send + 'static,
    ) {
        let (release, mut released) = watch::channel(false);
        let task = tokio::spawn(async move {
            failpoint::pass(Point::Begin).unwrap_or_default();
            let ready = tokio::select! {
                ready = ready => ready,
                // An error means that nobody waits any more, which is no reason to stop here either way.
                _ = released.wait_for(|released| *released) => {
                    Err(Failure::transient("it was let go before anything was sent"))
                }
            };
            match ready {
                Ok(rest) => rest.await,
                Err(failure) => Outcome::Unsent(failure),
            }
        });
        self.0.push(Attempt { task, release, occasion, is_current: true });
    }

    /// Tells whether a refresh token of another client is being taken over.
    pub(super) fn is_importing(&self) -> bool {
        self.0.iter().any(|attempt| attempt.is_current && matches!(attempt.occasion, Occasion::Import))
    }

    /// Lets the outcomes of all that are under way not matter any more.
    pub(super) fn overtake(&mut self) {
        self.release();
        for attempt in &mut self.0 {
            attempt.is_current = false;
        }
    }

    /// Lets go of those that have sent nothing yet.
    pub(super) fn release(&self) {
        for attempt in &self.0 {
            attempt.release.send_replace(true);
        }
    }

    /// Waits for the outcome of one, for ever if there is none. One that ended abnormally has no outcome.
    pub(super) async fn finished(&mut self) -> (Attempt, Option<Outcome>) {
        let (index, outcome) = poll_fn(|context| {
            for (index, attempt) in self.0.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = Pin::new(&mut attempt.task).poll(context) {
                    return Poll::Ready((index, outcome));
                }
            }
            Poll::Pending
        })
        .await;
        let outcome = outcome
            .inspect_err(|error| tracing::error!(error = abnormal(error), "a renewal ended abnormally"));
        (self.0.swap_remove(index), outcome.ok())
    }
}

/// Presents a refresh token: what could be lost is written down before, and what comes is written down before it is read.
async fn rotate(Rotation { send, read }: Rotation, scribe: Option<Scribe>) -> Outcome {
    let mut page = match scribe {
        None => None,
        Some(scribe) => match scribe.begin().await {
            Ok(page) => Some(page),
            Err(outcome) => return *outcome,
        },
    };
    let answered = send.await;
    failpoint::pass(Point::Sent).unwrap_or_default();
    let answered = match answered {
        Ok(answered) => Arc::new(answered),
        Err(failure) => return Outcome::Failed(Unread { failure, successor: None }),
    };
    failpoint::pass(Point::Answered).unwrap_or_default();
    if let Some(page) = &mut page {
        page.record(Arc::clone(&answered)).await;
    }
    let outcome = read(&answered);
    failpoint::pass(Point::Parsed).unwrap_or_default();
    outcome.map_or_else(Outcome::Failed, Outcome::Renewed)
}
