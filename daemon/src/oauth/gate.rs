//! How many renewals are under way at one origin.
//!
//! A hundred accounts of one issuer come due together after a night of suspend; an issuer takes a burst for an attack. The
//! thing to get wrong: only what has not been sent waits here. Nothing that is spent does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Renewals under way at one origin at most: enough for hundreds of accounts within a minute, too few to be noticed.
const MOST_AT_ONCE: usize = 4;

/// The gates of all origins. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates(Arc<Mutex<BTreeMap<String, Arc<Semaphore>>>>);

/// The right to renew at an origin, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Absent where the gate is gone, which never happens: then nothing is held back.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gates {
    /// Waits for a turn. First come, first served.
    pub(crate) async fn turn(&self, origin: &str) -> Turn {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Origins come from the settings and their metadata, so there are a handful; those of old settings go.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.available_permits() < MOST_AT_ONCE);
            Arc::clone(
                gates.entry(origin.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MOST_AT_ONCE))),
            )
        };
        Turn { _permit: gate.acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Tells whether a turn is to be had at once.
    async fn is_free(gates: &Gates, origin: &str) -> bool {
        let mut turn = pin!(gates.turn(origin));
        poll_fn(|context| Poll::Ready(turn.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn four_renewals_are_under_way_at_one_origin_and_others_wait_their_turn() {
        let gates = Gates::default();
        let mut turns = Vec::new();
        for _ in 0..MOST_AT_ONCE {
            turns.push(gates.turn("https://a").await);
        }
        assert!(!is_free(&gates, "https://a").await);
        assert!(is_free(&gates, "https://b").await, "another origin is another gate");
        turns.pop();
        assert!(is_free(&gates, "https://a").await);
        turns.clear();
        assert!(is_free(&gates.clone(), "https://c").await);
        assert_eq!(gates.0.lock().unwrap().len(), 1, "gates that nobody passes stay");
    }
}
