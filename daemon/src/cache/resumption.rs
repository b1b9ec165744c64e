//! What lies on disk of a login that waits for a person, so that the next daemon can go on with it (RFC 8628 alone).
//!
//! It is written when it begins and when its interval has grown, and removed when it ends. Where that fails a login is
//! lost with the daemon, and no more. The thing to get wrong: the end of the daemon is not the end of the login.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::account::Account;
use crate::cache::shelf::call;
use crate::store::{PendingLogin, Store};
use crate::token::device_login::DeviceLogin;
use crate::token::failure::told;

/// The part of a login that outlives the daemon.
pub(super) struct Resumption {
    store: Arc<Store>,
    /// The pending login, if it is one that can be resumed.
    followed: Option<watch::Receiver<DeviceLogin>>,
    rests: Rests,
}

/// What rests on disk, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rests {
    Nothing,
    /// The followed login, with this interval; or it could not be written, which is not tried again.
    Followed(Duration),
    /// A login that has ended.
    Ended,
}

impl Resumption {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, followed: None, rests: Rests::Nothing }
    }

    /// Reads what an earlier daemon left of a login. What is bound to other settings is to be forgotten.
    pub(super) async fn load(&mut self, account: &Account) -> Option<DeviceLogin> {
        let name = account.name.clone();
        match call(&self.store, move |store| store.load_login(&name)).await {
            Ok(None) => None,
            Ok(Some(left)) if left.fingerprint == account.fingerprint() => {
                self.rests = Rests::Followed(left.login.interval);
                Some(left.login)
            }
            Ok(Some(_)) => {
                tracing::warn!(account = %account.name, "a login that was pending belongs to other settings: dropped");
                self.rests = Rests::Ended;
                None
            }
            Err(error) => {
                tracing::warn!(account = %account.name, error = told(&error), "cannot look for a login to resume");
                None
            }
        }
    }

    /// Follows a login that has begun, if it is one that can be resumed.
    pub(super) fn follow(&mut self, login: Option<watch::Receiver<DeviceLogin>>) {
        self.followed = login;
    }

    /// Tells whether a login is followed: one that need not end with the daemon.
    pub(super) fn is_following(&self) -> bool {
        self.followed.is_some()
    }

    /// Takes note of the end of a login, whichever end it was.
    pub(super) fn forget(&mut self) {
        self.followed = None;
        if self.rests != Rests::Nothing {
            self.rests = Rests::Ended;
        }
    }

    /// Waits until what rests is not the login as it is; for ever if there is none.
    pub(super) async fn changed(&mut self) {
        if let Some(login) = &mut self.followed
            && login.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Makes the disk agree with how the login is. Does nothing where it does.
    pub(super) async fn settle(&mut self, account: &Account) {
        let login = self.followed.as_mut().map(|login| login.borrow_and_update().clone());
        match (login, self.rests) {
            (Some(login), rests) if rests != Rests::Followed(login.interval) => {
                self.rests = Rests::Followed(login.interval);
                self.write(account, login).await;
            }
            (None, Rests::Ended) => self.erase(account).await,
            (Some(_), _) | (None, Rests::Nothing | Rests::Followed(_)) => {}
        }
    }

    async fn write(&self, account: &Account, login: DeviceLogin) {
        let name = account.name.clone();
        let pending = PendingLogin { fingerprint: account.fingerprint(), login };
        if let Err(error) = call(&self.store, move |store| store.save_login(&name, &pending)).await {
            tracing::warn!(account = %account.name, error = told(&error), "the login would end with this daemon");
        }
    }

    /// Removes what rests, known or not. Where that fails it is tried again.
    pub(super) async fn erase(&mut self, account: &Account) {
        let name = account.name.clone();
        self.rests = match call(&self.store, move |store| store.delete_login(&name)).await {
            Ok(()) => Rests::Nothing,
            Err(error) => {
                tracing::warn!(account = %account.name, error = told(&error), "a login that has ended still rests on disk");
                Rests::Ended
            }
        };
    }
}
