//! What an account's owner goes by, whoever it is: an owner that takes over after a panic goes by the same.

use std::sync::Arc;

use crate::account::Account;
use crate::cache::lock::Latch;
use crate::grant::TokenSource;

/// What the owner is to go by: its settings, whether it goes on, and whether it holds anything.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) account: Arc<Account>,
    pub(super) source: Arc<dyn TokenSource>,
    pub(super) closing: bool,
    pub(super) latch: Latch,
}

impl Orders {
    pub(super) fn new(account: Account, source: Arc<dyn TokenSource>) -> Self {
        Self { account: Arc::new(account), source, closing: false, latch: Latch::Open }
    }
}
