//! Sessions in the desktop's keyring (Secret Service), by the attributes that all clients write.
//!
//! The thing to get wrong: asking for the secret of a locked item prompts a person. Only items that the service itself
//! lists as unlocked are asked for.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Type, Value};
use zeroize::Zeroizing;

use crate::flyte::keyring::{Found, Place, Session, Slot};

/// What the Secret Service has to answer a call within. One that takes longer counts as absent.
const PATIENCE_PER_CALL: Duration = Duration::from_secs(2);

const DESTINATION: &str = "org.freedesktop.secrets";
const SERVICE_PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A secret as it travels: session, parameters, value, type.
type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

/// The desktop's keyring.
pub(super) struct SecretService {
    bus: Connection,
    /// Under which secrets travel. They do so as they are: the bus is the user's own.
    session: OwnedObjectPath,
}

impl SecretService {
    /// Connects; `None` where there is no keyring, or none that answers.
    pub(super) fn connect() -> Option<Self> {
        let connected = Builder::session()
            .and_then(|builder| builder.method_timeout(PATIENCE_PER_CALL).build())
            .and_then(|bus| {
                let arguments = ("plain", Value::from(""));
                let (_, session): (OwnedValue, OwnedObjectPath) =
                    call(&bus, SERVICE_PATH, SERVICE, ("OpenSession", &arguments))?;
                Ok(Self { bus, session })
            });
        connected.inspect_err(|error| tracing::debug!(%error, "there is no keyring to look into")).ok()
    }

    /// Looks for sessions.
    pub(super) fn find(&self, slots: &[Slot]) -> Found {
        let mut found = Found::default();
        for slot in slots {
            match self.search(slot) {
                Ok((unlocked, locked)) => {
                    found.is_locked |= !locked.is_empty();
                    found.sessions.extend(unlocked.iter().filter_map(|item| self.session(slot, item)));
                }
                Err(error) => {
                    tracing::debug!(%error, "a keyring cannot be searched");
                    break;
                }
            }
        }
        found
    }

    /// Deletes an item, where that needs no prompt.
    pub(super) fn delete(&self, item: &str) {
        let prompt: zbus::Result<OwnedObjectPath> = call(&self.bus, item, ITEM, ("Delete", &()));
        match prompt {
            Ok(prompt) if prompt.as_str() == "/" => {}
            Ok(_) => {
                tracing::warn!("a session of another client stays in the keyring: deleting it needs a person")
            }
            Err(error) => tracing::warn!(%error, "a session of another client stays in the keyring"),
        }
    }

    fn search(&self, slot: &Slot) -> zbus::Result<(Vec<OwnedObjectPath>, Vec<OwnedObjectPath>)> {
        let attributes =
            HashMap::from([("service", slot.service.as_str()), ("username", slot.user.as_str())]);
        call(&self.bus, SERVICE_PATH, SERVICE, ("SearchItems", &(attributes,)))
    }

    fn session(&self, slot: &Slot, item: &OwnedObjectPath) -> Option<Session> {
        let arguments = (vec![item], &self.session);
        let mut secrets: HashMap<OwnedObjectPath, Secret> =
            call(&self.bus, SERVICE_PATH, SERVICE, ("GetSecrets", &arguments)).ok()?;
        let (_, _, value, _) = secrets.remove(item)?;
        let value = Zeroizing::new(value);
        let modified: zbus::Result<OwnedValue> =
            call(&self.bus, item, PROPERTIES, ("Get", &(ITEM, "Modified")));
        let modified = modified.ok().and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
        slot.session(Place::Item(item.to_string()), &value, modified)
    }
}

fn call<T: DeserializeOwned + Type>(
    bus: &Connection,
    path: &str,
    interface: &str,
    (method, arguments): (&str, &(impl Serialize + DynamicType)),
) -> zbus::Result<T> {
    bus.call_method(Some(DESTINATION), path, Some(interface), method, arguments)?.body().deserialize()
}
