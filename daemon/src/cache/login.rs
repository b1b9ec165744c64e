//! A login as a machine of its own, beside the tokens: signing in again while the old token still works is normal.
//!
//! There is one per account. Whoever asks while it is pending joins it, so a hundred tools cause one prompt.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Moment;
use crate::grant::{Exchange, Flow, Login, Pasted, Prompt, TokenSource};
use crate::token::TokenSet;
use crate::token::failure::{Failure, abnormal};

/// How far the latest login of an account has come.
#[derive(Clone, Debug)]
pub enum LoginProgress {
    /// None has been asked for.
    Idle,
    /// The issuer is being asked for a way to log in.
    Starting,
    /// A person is expected to act.
    Asking {
        /// What they should do.
        prompt: Prompt,
        /// When the issuer stops waiting.
        until: Moment,
    },
    /// They have answered, or what another client holds is taken over: that is being exchanged for tokens.
    Exchanging,
    /// It succeeded.
    SignedIn,
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

impl LoginProgress {
    /// Tells whether something is still going to happen.
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Starting | Self::Asking { .. } | Self::Exchanging => true,
            Self::Idle | Self::SignedIn | Self::Failed(_) | Self::Cancelled => false,
        }
    }
}

/// The work of a login that is under way.
pub(super) enum Step {
    /// Asking the issuer for a way to log in.
    Starting {
        /// The asking.
        asked: JoinHandle<Result<Login, Failure>>,
        /// In which way.
        flow: Flow,
    },
    /// Waiting for the person.
    Asking {
        /// The waiting.
        answered: JoinHandle<Result<Exchange, Failure>>,
        /// In which way they were asked.
        flow: Flow,
        /// Where a paste of theirs goes.
        pasting: Option<mpsc::Sender<Pasted>>,
    },
    /// Exchanging their answer for tokens.
    Exchanging(JoinHandle<Result<TokenSet, Failure>>),
}

/// What a step came to.
pub(super) enum Outcome {
    /// There is something for a person to do.
    Asked(Login),
    /// They have done it.
    Answered(Exchange),
    /// The tokens are here.
    Exchanged(TokenSet),
    /// It failed.
    Failed(Failure),
}

impl Step {
    /// Begins a login.
    pub(super) fn begin(source: &Arc<dyn TokenSource>, flow: Flow) -> Self {
        Self::Starting { asked: tokio::spawn(source.begin_login(flow)), flow }
    }

    /// Returns the way in which the person logs in.
    pub(super) fn flow(&self) -> Flow {
        match self {
            Self::Starting { flow, .. } | Self::Asking { flow, .. } => *flow,
            Self::Exchanging(_) => Flow::Configured,
        }
    }

    /// Tells whether tokens are on their way: from the answer on, also while nobody has taken note of it.
    pub(super) fn is_exchanging(&self) -> bool {
        match self {
            Self::Starting { .. } => false,
            Self::Asking { answered, .. } => answered.is_finished(),
            Self::Exchanging(_) => true,
        }
    }

    /// Waits until the step is done. Can be called again after it was dropped half-way.
    pub(super) async fn outcome(&mut self) -> Outcome {
        let outcome = match self {
            Self::Starting { asked, .. } => asked.await.map(|result| result.map(Outcome::Asked)),
            Self::Asking { answered, .. } => answered.await.map(|result| result.map(Outcome::Answered)),
            Self::Exchanging(task) => task.await.map(|result| result.map(Outcome::Exchanged)),
        };
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(error) => {
                tracing::error!(error = abnormal(&error), "a login ended abnormally");
                Outcome::Failed(Failure::transient("the login ended abnormally: see the daemon's log"))
            }
        }
    }

    /// Ends the work: nobody waits for the person any more. Tokens that are on their way are taken back.
    pub(super) fn end(self, source: &Arc<dyn TokenSource>) {
        match self {
            Self::Starting { asked, .. } => asked.abort(),
            Self::Asking { answered, .. } => answered.abort(),
            Self::Exchanging(task) => {
                let source = Arc::clone(source);
                tokio::spawn(async move {
                    if let Ok(Ok(tokens)) = task.await {
                        drop(source.revoke(tokens).await);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_on_its_way_before_anybody_takes_note_of_it() {
        let (person, answer) = tokio::sync::oneshot::channel::<Exchange>();
        let answered = tokio::spawn(async { answer.await.map_err(|_| Failure::LoginRequired) });
        let mut step = Step::Asking { answered, flow: Flow::Configured, pasting: None };
        assert!(!step.is_exchanging());
        drop(person.send(Box::pin(async { Err(Failure::LoginRequired) })));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(step.is_exchanging());
        assert!(matches!(step.outcome().await, Outcome::Answered(_)));
    }
}
