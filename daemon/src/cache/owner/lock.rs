//! The owner's part in locking: making sure that nothing gets lost, forgetting it all, and taking it up again.
//!
//! The thing to get wrong: what is forgotten must rest on disk, and a refresh token that has been presented may have a
//! successor on its way. So the owner says first whether it can, and nothing is forgotten before all owners have.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cache::attempt::Outcome;
use crate::cache::lock::{Latch, Unready};
use crate::cache::login::LoginProgress;
use crate::cache::owner::{Owner, advanced, answer, means};
use crate::cache::view::Stored;
use crate::token::state::{SignedOut, TokenState};

/// What whoever locks asks of an owner.
pub(in crate::cache) struct Preparation {
    /// Where it says whether it can forget.
    pub(in crate::cache) ready: oneshot::Sender<Result<(), Unready>>,
    /// Comes when it is to forget, and is dropped when it is not.
    pub(in crate::cache) verdict: oneshot::Receiver<()>,
}

impl Owner {
    /// Finishes what must not be lost and begins nothing, then forgets, or goes on as before.
    pub(super) async fn prepare_lock(&mut self, Preparation { ready, mut verdict }: Preparation) {
        self.is_held = true;
        self.attempts.release();
        let mut let_go = false;
        while !self.attempts.is_empty() || self.is_exchanging() {
            tokio::select! {
                (attempt, outcome) = self.attempts.finished(), if !self.attempts.is_empty() => {
                    let_go |= matches!(outcome, Some(Outcome::Unsent(_)));
                    self.conclude(attempt, outcome).await;
                }
                outcome = advanced(&mut self.login_step), if self.is_exchanging() => {
                    self.advance_login(outcome).await;
                    self.publish();
                }
                // Nobody waits any more: it takes too long, or another account cannot.
                _ = &mut verdict => return self.go_on(let_go),
            }
        }
        if let Stored::Volatile(_) = self.shelf.stored() {
            self.save().await;
            self.publish();
        }
        answer(ready, self.can_forget());
        match verdict.await {
            Ok(()) => self.forget().await,
            Err(_) => self.go_on(let_go),
        }
    }

    fn can_forget(&self) -> Result<(), Unready> {
        match self.shelf.stored() {
            Stored::Volatile(error) => Err(Unready::Volatile(Arc::clone(error))),
            // What cannot be read is not held either.
            Stored::Unread | Stored::Unreadable(_) | Stored::Durable | Stored::Locked => Ok(()),
        }
    }

    /// Goes on as if nothing had been asked.
    fn go_on(&mut self, let_go: bool) {
        self.is_held = false;
        let now = self.clock.now().moment;
        if let_go {
            // It was no failure of theirs.
            self.own.state.start_afresh(now);
            self.variants.start_afresh(now);
        }
        self.start_import();
        self.start_awaited();
    }

    /// Forgets every secret, and tells those who wait for one.
    async fn forget(&mut self) {
        self.is_held = false;
        self.end_login(LoginProgress::Cancelled);
        let now = self.clock.now().moment;
        self.own.state = TokenState::signed_out(means(&*self.source), SignedOut::Never, now);
        self.own.failed_at = None;
        self.shelf.turn(Latch::Locked);
        self.begin_anew();
        self.publish();
        // Last: a disk that hangs must not keep a secret in memory.
        self.resumption.settle(&self.account).await;
    }

    /// Takes note of whether keyfob is locked: one that is not any more takes up what rests, as at a start.
    pub(super) async fn heed_latch(&mut self, latch: Latch) {
        match (latch, self.shelf.is_locked()) {
            (Latch::Locked, true) | (Latch::Open, false) => {}
            (Latch::Locked, false) => self.forget().await,
            (Latch::Open, true) => {
                self.shelf.turn(Latch::Open);
                self.load().await;
            }
        }
    }
}
