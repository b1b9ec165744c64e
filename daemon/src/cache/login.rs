//! A login as a machine of its own, beside the tokens: signing in again while the old token still works is normal.
//!
//! There is one per account. Whoever asks while it is pending joins it, so a hundred tools cause one prompt.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::clock::Moment;
use crate::grant::{Login, Prompt, TokenSource};
use crate::token::TokenSet;
use crate::token::failure::Failure;

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
    /// The tokens are here and are being stored.
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
    Starting(JoinHandle<Result<Login, Failure>>),
    /// Waiting for the person.
    Asking(JoinHandle<Result<TokenSet, Failure>>),
}

/// What a step came to.
pub(super) enum Outcome {
    /// There is something for a person to do.
    Asked(Login),
    /// They have done it.
    Answered(TokenSet),
    /// It failed.
    Failed(Failure),
}

impl Step {
    /// Begins a login.
    pub(super) fn begin(source: &Arc<dyn TokenSource>) -> Self {
        Self::Starting(tokio::spawn(source.begin_login()))
    }

    /// Waits until the step is done. Can be called again after it was dropped half-way.
    pub(super) async fn outcome(&mut self) -> Outcome {
        let outcome = match self {
            Self::Starting(task) => task.await.map(|result| result.map(Outcome::Asked)),
            Self::Asking(task) => task.await.map(|result| result.map(Outcome::Answered)),
        };
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(error) => {
                tracing::error!(%error, "a login ended abnormally");
                Outcome::Failed(Failure::transient("the login ended abnormally: see the daemon's log"))
            }
        }
    }

    /// Ends the work: nobody waits for the person any more.
    pub(super) fn abort(&self) {
        match self {
            Self::Starting(task) => task.abort(),
            Self::Asking(task) => task.abort(),
        }
    }
}
