//! The handle's part in locking: asking the owner whether it can forget, telling it to, and waiting until it has.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cache::entry::Entry;
use crate::cache::lock::{Latch, Unready};
use crate::cache::owner::{Message, Preparation};
use crate::cache::view::Stored;

/// An account that gets ready to forget what it holds. Dropped, it goes on as before.
pub(in crate::cache) struct Pending {
    pub(in crate::cache) entry: Arc<Entry>,
    ready: oneshot::Receiver<Result<(), Unready>>,
    verdict: oneshot::Sender<()>,
}

/// An account that can forget what it holds. Dropped, it goes on as before.
pub(in crate::cache) struct Ready {
    entry: Arc<Entry>,
    verdict: oneshot::Sender<()>,
}

impl Entry {
    /// Asks the account to finish what must not be lost, and to begin nothing.
    pub(in crate::cache) async fn prepare_lock(self: Arc<Self>) -> Result<Pending, Unready> {
        let (to_ready, ready) = oneshot::channel();
        let (verdict, to_verdict) = oneshot::channel();
        let preparation = Preparation { ready: to_ready, verdict: to_verdict };
        self.tell(Message::PrepareLock(preparation)).await.ok_or(Unready::Closing)?;
        Ok(Pending { entry: self, ready, verdict })
    }

    /// Has the account hold nothing, or take up again what rests on disk.
    pub(in crate::cache) fn turn(&self, latch: Latch) {
        self.orders.send_modify(|orders| orders.latch = latch);
    }

    /// Waits until the account holds nothing any more, or holds again what the store has.
    pub(in crate::cache) async fn turned(&self, latch: Latch) {
        let mut view = self.view.clone();
        let turned = view.wait_for(|view| match (&view.stored, latch) {
            (Stored::Locked, Latch::Locked) => true,
            (Stored::Locked | Stored::Unread, Latch::Open) => false,
            (Stored::Durable | Stored::Volatile(_) | Stored::Unreadable(_), Latch::Open) => true,
            (
                Stored::Unread | Stored::Durable | Stored::Volatile(_) | Stored::Unreadable(_),
                Latch::Locked,
            ) => false,
        });
        // An account that has ended holds nothing.
        drop(turned.await);
    }
}

impl Pending {
    /// Waits until the account has said whether it can forget.
    pub(in crate::cache) async fn ready(self) -> Result<Ready, Unready> {
        self.ready.await.unwrap_or(Err(Unready::Closing))?;
        Ok(Ready { entry: self.entry, verdict: self.verdict })
    }
}

impl Ready {
    /// Has the account forget all that it holds. Does not wait for it.
    pub(in crate::cache) fn forget(self) {
        // First for good, in case that another owner takes over.
        self.entry.turn(Latch::Locked);
        // An owner that is gone holds nothing.
        self.verdict.send(()).unwrap_or_default();
    }
}
