//! The key in the Secret Service of the desktop: GNOME Keyring, KWallet, KeePassXC.
//!
//! The thing to get wrong is to wait for it. It may be locked, stopped, or gone in the middle of an answer, and the
//! library that reads from it unlocks what is locked, which asks a person. So we look first whether anything is locked,
//! and every question is asked on a thread of its own that nobody waits for longer than a few seconds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use keyring_core::Entry;
use keyring_core::api::CredentialStoreApi;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Type};
use zbus_secret_service_keyring_store::Store as SecretService;
use zeroize::Zeroizing;

use crate::store::key::{Key, KeyError, KeySource};

/// What the Secret Service has to answer a call within. One that takes longer counts as absent.
const PATIENCE_PER_CALL: Duration = Duration::from_secs(2);

/// What a whole question has to be answered within: it is several calls, each of them quick or hopeless.
const PATIENCE: Duration = Duration::from_secs(3);

/// The attributes by which the item is found, and its title.
const SERVICE: &str = "keyfob";
const USER: &str = "store-key";
const LABEL: &str = "keyfob store key";

const DESTINATION: &str = "org.freedesktop.secrets";
const SERVICE_PATH: &str = "/org/freedesktop/secrets";
const SERVICE_INTERFACE: &str = "org.freedesktop.Secret.Service";
const COLLECTION_INTERFACE: &str = "org.freedesktop.Secret.Collection";

/// The key in the Secret Service.
#[derive(Debug)]
pub struct Keyring {
    patience: Duration,
    /// Whether a question is out. A second is not asked beside it: each would leave a thread that waits for ever.
    asking: Arc<AtomicBool>,
}

impl Default for Keyring {
    fn default() -> Self {
        Self { patience: PATIENCE, asking: Arc::default() }
    }
}

impl KeySource for Keyring {
    fn fetch(&self) -> Result<Option<Key>, KeyError> {
        self.ask(fetch)
    }

    fn create(&self, key: &Key) -> Result<(), KeyError> {
        let key = key.to_hex();
        self.ask(move || create(&key))
    }
}

impl Keyring {
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        if self.asking.swap(true, Ordering::AcqRel) {
            return Err(silent());
        }
        let asking = Asking(Arc::clone(&self.asking));
        let (answer, answered) = mpsc::sync_channel(1);
        let ask = move || {
            // In a panic the last of these goes first: whoever learns of it may ask again at once.
            let (answer, asking) = (answer, asking);
            let outcome = question();
            // The question is out until its answer has been taken, or nobody is left to take it.
            if answer.send((outcome, asking)).is_err() {
                tracing::debug!("the keyring answered too late");
            }
        };
        thread::Builder::new().name("keyring".to_owned()).spawn(ask).map_err(unavailable)?;
        match answered.recv_timeout(self.patience) {
            Ok((outcome, _asking)) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(silent()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(KeyError::Unavailable("asking the keyring failed".into()))
            }
        }
    }
}

/// A question that is out, until it is answered, or fails in whatever way.
struct Asking(Arc<AtomicBool>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn fetch() -> Result<Option<Key>, KeyError> {
    match look()? {
        Presence::Absent => Ok(None),
        Presence::Present => match entry()?.get_secret().map(Zeroizing::new) {
            Ok(text) => Key::parse(&text).map(Some).ok_or_else(|| {
                KeyError::Unusable(
                    format!("the keyring's item \"{LABEL}\" holds something else than a key").into(),
                )
            }),
            // Removed since we looked.
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(error) => Err(refused(&error)),
        },
    }
}

fn create(key: &str) -> Result<(), KeyError> {
    look()?;
    entry()?.set_secret(key.as_bytes()).map_err(|error| refused(&error))
}

fn entry() -> Result<Entry, KeyError> {
    let service = SecretService::new().map_err(unavailable)?;
    service.build(SERVICE, USER, Some(&HashMap::from([("label", LABEL)]))).map_err(unavailable)
}

/// Whether the keyring has the item.
enum Presence {
    Absent,
    Present,
}

/// Looks, without touching, whether the item is there and whether what we would touch is unlocked.
fn look() -> Result<Presence, KeyError> {
    let bus = Builder::session()
        .and_then(|builder| builder.method_timeout(PATIENCE_PER_CALL).build())
        .map_err(|error| {
            KeyError::Unavailable(format!("there is no session bus ({error}): log in to the desktop").into())
        })?;
    let attributes = HashMap::from([("service", SERVICE), ("username", USER)]);
    let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
        call(&bus, SERVICE_PATH, SERVICE_INTERFACE, ("SearchItems", &(attributes,)))?;
    if !locked.is_empty() {
        return Err(KeyError::Locked);
    }
    if !unlocked.is_empty() {
        return Ok(Presence::Present);
    }
    // A locked collection may hide its items, and a new item would go to the default one.
    let default: OwnedObjectPath = call(&bus, SERVICE_PATH, SERVICE_INTERFACE, ("ReadAlias", &("default",)))?;
    if default.as_str() == "/" {
        return Err(KeyError::Unavailable(
            "the Secret Service has no default collection to keep a key in".into(),
        ));
    }
    let properties = "org.freedesktop.DBus.Properties";
    let locked: OwnedValue = call(&bus, &default, properties, ("Get", &(COLLECTION_INTERFACE, "Locked")))?;
    match bool::try_from(locked) {
        Ok(false) => Ok(Presence::Absent),
        Ok(true) => Err(KeyError::Locked),
        Err(error) => Err(unavailable(error)),
    }
}

fn call<T: DeserializeOwned + Type>(
    bus: &Connection,
    path: &str,
    interface: &str,
    (method, arguments): (&str, &(impl Serialize + DynamicType)),
) -> Result<T, KeyError> {
    let reply = bus.call_method(Some(DESTINATION), path, Some(interface), method, arguments);
    match reply.and_then(|reply| reply.body().deserialize()) {
        Err(zbus::Error::InputOutput(error)) if error.kind() == io::ErrorKind::TimedOut => Err(silent()),
        answer => answer.map_err(unavailable),
    }
}

fn refused(error: &keyring_core::Error) -> KeyError {
    if matches!(error, keyring_core::Error::NoStorageAccess(_)) {
        KeyError::Locked
    } else if matches!(error, keyring_core::Error::Ambiguous(_)) {
        KeyError::Unusable(
            format!("the keyring has several items \"{LABEL}\": remove all but the right one").into(),
        )
    } else {
        unavailable(error)
    }
}

fn silent() -> KeyError {
    KeyError::Unavailable("the keyring does not answer: start it again".into())
}

fn unavailable(error: impl std::fmt::Display) -> KeyError {
    KeyError::Unavailable(
        format!("the keyring cannot be used ({error}): start it, for example by logging in to the desktop")
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_does_not_answer_is_given_up_and_not_asked_again_meanwhile() {
        let keyring = Keyring { patience: Duration::from_millis(1), asking: Arc::default() };
        let (release, released) = mpsc::channel::<()>();
        let never = keyring.ask(move || {
            released.recv().expect("the test releases it");
            Ok(())
        });
        assert!(matches!(never, Err(KeyError::Unavailable(_))));
        let asked = Arc::new(AtomicBool::new(false));
        let second = keyring.ask({
            let asked = Arc::clone(&asked);
            move || {
                asked.store(true, Ordering::Release);
                Ok(())
            }
        });
        assert!(matches!(second, Err(KeyError::Unavailable(_))));
        assert!(!asked.load(Ordering::Acquire), "a second question was asked beside the first");
        release.send(()).unwrap();
        let ended = |_| {
            thread::yield_now();
            !keyring.asking.load(Ordering::Acquire)
        };
        assert!((0..10_000_000).any(ended), "the first question is out for ever");
        let patient = Keyring { patience: PATIENCE, ..keyring };
        assert!(patient.ask(|| Ok(())).is_ok());
        assert!(patient.ask(|| Ok(())).is_ok(), "an answered question is still out");
    }

    #[test]
    fn a_question_that_panics_is_not_out_for_ever() {
        let keyring = Keyring::default();
        let panicked = keyring.ask(|| -> Result<(), KeyError> { panic!("a fault in the library") });
        assert!(matches!(panicked, Err(KeyError::Unavailable(_))));
        assert!(keyring.ask(|| Ok(())).is_ok());
    }
}
