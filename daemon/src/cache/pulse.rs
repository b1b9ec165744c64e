//! Whether the accounts live, for whoever watches over the daemon.
//!
//! The thing to get wrong: a store that is slow is no store that hangs, so how long to wait is up to the caller.

use crate::cache::login::LoginProgress;
use crate::cache::shelf::call;
use crate::cache::{DRAIN, TokenCache};
use crate::token::state::TokenState;

/// How long the end of the daemon takes at most where something is under way.
pub const LONGEST_END: std::time::Duration = DRAIN;

impl TokenCache {
    /// Tells whether the store lets somebody through: on a thread of its own, and behind whoever is in there.
    pub async fn store_answers(&self) -> bool {
        let through = call(&self.store, |store| {
            store.pass_through();
            Ok(())
        });
        through.await.is_ok()
    }

    /// Tells whether tokens are under way: what comes must still get to the disk.
    pub fn is_renewing(&self) -> bool {
        self.entries().iter().any(|entry| {
            let view = entry.view();
            let others = view.variants.values().map(|variant| &variant.state);
            matches!(view.login, LoginProgress::Exchanging)
                || std::iter::once(&view.state).chain(others).any(TokenState::is_in_flight)
        })
    }
}
