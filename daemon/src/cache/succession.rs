//! The owners of one account, one after the other: another begins only where one ended by a panic.
//!
//! A panic is a bug, but it must not be the end of an account until somebody restarts the daemon. The thing to get wrong: a
//! renewal outlives the owner that sent it. Whoever comes next waits until it has ended and its answer is written down,
//! rather than present the same refresh token beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};

use crate::cache::orders::Orders;
use crate::cache::owner::{Letter, Owner};
use crate::cache::view::View;
use crate::clock::Clock;
use crate::store::Store;
use crate::token::failure::abnormal;

/// How long an account is without an owner after a panic: longer than any renewal takes.
const VACANCY: Duration = Duration::from_secs(20);

/// What every owner of an account has.
pub(super) struct Estate {
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) view: watch::Sender<Arc<View>>,
}

/// Lets the account be owned until it is closed. What was published last is served while nobody owns it.
pub(super) async fn run(
    estate: Estate,
    messages: mpsc::Receiver<Letter>,
    mut orders: watch::Receiver<Orders>,
) {
    let messages = Arc::new(Mutex::new(messages));
    loop {
        let owner = Box::new(Owner::new(orders.borrow().clone(), &estate));
        let mailbox = Arc::clone(&messages).lock_owned().await;
        match tokio::spawn(owner.run(mailbox, orders.clone())).await {
            Err(error) if error.is_panic() => {
                let account = orders.borrow().account.name.clone();
                tracing::error!(%account, error = abnormal(&error), "the account is taken up again from what rests on disk");
            }
            Ok(()) | Err(_) => return,
        }
        tokio::select! {
            () = estate.clock.sleep_until(estate.clock.now().moment.after(VACANCY)) => {}
            // Also where nobody gives orders any more.
            _ = orders.wait_for(|orders| orders.closing) => return,
        }
    }
}
