//! A device login that is pending, at rest: so that the code on somebody's screen outlives a restart of the daemon.
//!
//! Unlike tokens it is worth little: who loses it asks for another code. So what cannot be opened is thrown away, and
//! nothing here keeps a daemon from starting. A store in memory keeps none, for it ends with the daemon that polls.

use std::borrow::Cow;
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::account::Fingerprint;
use crate::clock::{Clock, Stamp};
use crate::store::directory::Content;
use crate::store::disk::Disk;
use crate::store::master_key::locked;
use crate::store::record::{NotARecord, wiped_json};
use crate::store::slot::Slot;
use crate::store::{Rest, Store, StoreError, sealed_file};
use crate::token::device_login::DeviceLogin;

/// A pending login, and what it is bound to.
#[derive(Clone, Debug)]
pub struct PendingLogin {
    /// The account's settings when it began.
    pub fingerprint: Fingerprint,
    /// The login.
    pub login: DeviceLogin,
}

/// The header of a sealed file has room for a generation; a login needs none, since it is never older than another.
const GENERATION: u64 = 0;

#[derive(Serialize, Deserialize)]
struct AtRest<'a> {
    fingerprint: Fingerprint,
    #[serde(borrow)]
    device_code: Cow<'a, str>,
    origin: String,
    interval: Duration,
    until: Stamp,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
}

impl PendingLogin {
    /// Returns the login's form in a sealed file.
    pub(crate) fn to_json(&self, clock: &Clock) -> Zeroizing<Vec<u8>> {
        let login = &self.login;
        wiped_json(&AtRest {
            fingerprint: self.fingerprint.clone(),
            device_code: login.device_code.expose_secret().into(),
            origin: login.origin.clone(),
            interval: login.interval,
            until: clock.stamp(login.until),
            user_code: login.user_code.clone(),
            verification_uri: login.verification_uri.to_string(),
            verification_uri_complete: login.verification_uri_complete.as_ref().map(Url::to_string),
        })
    }

    /// Reads a login.
    pub(crate) fn from_json(json: &[u8], clock: &Clock) -> Result<Self, NotARecord> {
        let at_rest: AtRest<'_> = serde_json::from_slice(json).map_err(|_| NotARecord)?;
        let url = |text: &str| Url::parse(text).map_err(|_| NotARecord);
        let login = DeviceLogin {
            device_code: at_rest.device_code.into_owned().into(),
            origin: at_rest.origin,
            interval: at_rest.interval,
            until: clock.moment(&at_rest.until),
            user_code: at_rest.user_code,
            verification_uri: url(&at_rest.verification_uri)?,
            verification_uri_complete: at_rest.verification_uri_complete.as_deref().map(url).transpose()?,
        };
        Ok(Self { fingerprint: at_rest.fingerprint, login })
    }
}

impl Store {
    /// Reads the pending login of an account, whatever it is bound to: comparing the fingerprint is up to the caller.
    /// One that does not open is removed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn load_login(&self, account: &AccountName) -> Result<Option<PendingLogin>, StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(None),
            Rest::Disk(disk) => disk.load_login(account, &self.clock),
        }
    }

    /// Makes a pending login rest for an account. When it returns, the login is on disk.
    ///
    /// # Errors
    /// See [`StoreError`]. The login that rested before still does.
    pub fn save_login(&self, account: &AccountName, login: &PendingLogin) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(()),
            Rest::Disk(disk) => disk.save_login(account, login, &self.clock),
        }
    }

    /// Removes the pending login of an account. Needs no key.
    ///
    /// # Errors
    /// Fails where the file cannot be removed, or is not ours to remove.
    pub fn delete_login(&self, account: &AccountName) -> Result<(), StoreError> {
        match &self.rest {
            Rest::Memory(_) => Ok(()),
            Rest::Disk(disk) => {
                let _turn = locked(&disk.turn);
                Ok(disk.shelf.scrub(Slot::login(account))?)
            }
        }
    }
}

impl Disk {
    fn load_login(&self, account: &AccountName, clock: &Clock) -> Result<Option<PendingLogin>, StoreError> {
        let slot = Slot::login(account);
        let key = self.key.get(clock)?;
        let _turn = locked(&self.turn);
        let Some(sealed) = self.shelf.read(slot)? else { return Ok(None) };
        let opened = sealed_file::open(&key, slot, &sealed).ok();
        let login = opened.and_then(|opened| PendingLogin::from_json(&opened.plaintext, clock).ok());
        if login.is_none() {
            tracing::warn!(%account, "a login that was pending cannot be read: it is not resumed");
            self.shelf.scrub(slot)?;
        }
        Ok(login)
    }

    fn save_login(
        &self,
        account: &AccountName,
        login: &PendingLogin,
        clock: &Clock,
    ) -> Result<(), StoreError> {
        let slot = Slot::login(account);
        let key = self.key.get(clock)?;
        let sealed = sealed_file::seal(&key, slot, GENERATION, login.to_json(clock))?;
        let _turn = locked(&self.turn);
        Ok(self.shelf.replace(slot, Content::Other(&sealed))?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::store::key::KeyChoice;
    use crate::store::{Location, Sources};

    fn open(state: &Path, choice: KeyChoice, clock: &Clock) -> Store {
        fs::set_permissions(state, fs::Permissions::from_mode(0o700)).unwrap();
        Store::open(&Location::of(state), choice, Sources::of_the_system(None), clock.clone()).unwrap()
    }

    fn pending(clock: &Clock) -> PendingLogin {
        let login = DeviceLogin {
            device_code: "CANARY \"\u{e9}".into(),
            origin: "https://i".to_owned(),
            interval: Duration::from_millis(7500),
            until: clock.now().moment.after(Duration::from_secs(600)),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://i/device#/code".parse().unwrap(),
            verification_uri_complete: Some("https://i/device?user_code=WDJB-MJHT".parse().unwrap()),
        };
        PendingLogin { fingerprint: serde_json::from_value("f".into()).unwrap(), login }
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_pending_outlives_the_daemon() {
        let (state, clock) = (TempDir::new().unwrap(), Clock::following_tokio());
        let (name, saved) = ("prod".parse().unwrap(), pending(&clock));
        let store = open(state.path(), KeyChoice::File, &clock);
        assert!(store.load_login(&name).unwrap().is_none());
        store.save_login(&name, &saved).unwrap();
        drop(store);
        let store = open(state.path(), KeyChoice::Auto, &clock);
        assert!(store.load(&name).unwrap().is_none(), "it is no token");
        let PendingLogin { fingerprint, login } = store.load_login(&name).unwrap().unwrap();
        assert_eq!(fingerprint, saved.fingerprint);
        assert_eq!(login.device_code.expose_secret(), saved.login.device_code.expose_secret());
        assert_eq!((&login.origin, &login.user_code), (&saved.login.origin, &saved.login.user_code));
        assert_eq!((login.interval, login.until), (saved.login.interval, saved.login.until));
        assert_eq!(login.verification_uri, saved.login.verification_uri);
        assert_eq!(login.verification_uri_complete, saved.login.verification_uri_complete);
        store.delete(&name).unwrap();
        assert!(store.load_login(&name).unwrap().is_some(), "it is not the tokens' to end");
        store.delete_login(&name).unwrap();
        assert!(fs::read_dir(state.path().join("accounts")).unwrap().next().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_pending_binds_nobody_to_a_key() {
        let (state, clock) = (TempDir::new().unwrap(), Clock::following_tokio());
        let name = "prod".parse().unwrap();
        open(state.path(), KeyChoice::File, &clock).save_login(&name, &pending(&clock)).unwrap();
        let store = open(state.path(), KeyChoice::Memory, &clock);
        store.save_login(&name, &pending(&clock)).unwrap();
        assert!(store.load_login(&name).unwrap().is_none());
        drop(store);
        // Another key than it was sealed with: it is thrown away.
        fs::remove_file(state.path().join("key")).unwrap();
        let store = open(state.path(), KeyChoice::File, &clock);
        assert!(store.load_login(&name).unwrap().is_none());
        assert!(fs::read_dir(state.path().join("accounts")).unwrap().next().is_none());
    }
}
