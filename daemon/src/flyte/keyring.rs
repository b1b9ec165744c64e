//! The sessions that Flyte's own clients keep in keyrings, each in a layout of its own.
//!
//! The thing to get wrong: a locked keyring must stay locked, and a silent one must hold up nothing. So what is locked
//! is only told of, nothing prompts, and one question is out at a time, which nobody waits for longer than a few
//! seconds.

mod plain_file;
mod secret_service;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use plain_file::PlainFile;
use secret_service::SecretService;

/// How long a look into all keyrings may take: a dozen calls over D-Bus, each of them quick or hopeless.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// flytekit, and what is built on it.
    Flytekit,
    /// flytectl.
    Flytectl,
    /// The SDK of Flyte 2.
    Flyte,
}

/// A session that a client keeps.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub client: Client,
    /// Where it is.
    pub place: Place,
    /// What renews it, if it can be renewed.
    pub refresh: Option<SecretString>,
    /// When it was last written, in seconds since 1970.
    modified: u64,
}

/// Where a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An item of the desktop's keyring, by its object path.
    Item(String),
    /// An entry of a plain file.
    Entry {
        /// The file.
        file: PathBuf,
        /// Its section.
        section: String,
        /// The key there.
        key: String,
    },
}

/// What a look into the keyrings found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The sessions, the latest first.
    pub sessions: Vec<Session>,
    /// Whether a keyring is locked, so that there may be more.
    pub is_locked: bool,
}

impl Found {
    /// Returns what renews the latest session that can be renewed.
    pub fn latest(&self) -> Option<&SecretString> {
        self.sessions.iter().find_map(|session| session.refresh.as_ref())
    }
}

impl Session {
    /// Tells whether it is renewed by this, so that it is one session in two places.
    pub fn is_renewed_by(&self, refresh: &SecretString) -> bool {
        self.refresh.as_ref().is_some_and(|own| own.expose_secret() == refresh.expose_secret())
    }
}

/// The keyrings in which the clients keep sessions.
#[derive(Clone, Debug)]
pub struct Keyrings {
    files: Vec<PlainFile>,
    /// Whether a question is out. A second is not asked beside it: each may leave a thread that waits.
    asking: Arc<Semaphore>,
}

/// The keyrings cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keyrings do not answer")]
pub struct Silent;

/// Where a client keeps a session for an endpoint, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    client: Client,
    service: String,
    user: String,
    form: Form,
}

/// How a session is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The refresh token alone.
    Bare,
    /// JSON with a member `refresh_token`.
    Json,
}

/// A session in JSON.
#[derive(Deserialize)]
struct Written {
    refresh_token: Option<String>,
}

impl Keyrings {
    /// Finds the keyrings below a home directory; `data` is where `XDG_DATA_HOME` says that data is.
    pub fn new(home: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        let data = data.or_else(|| home.as_ref().map(|home| home.join(".local/share")));
        let mut files = Vec::new();
        if let Some(home) = home {
            files.push(PlainFile::verbatim(home.join(".flyte/keyring.cfg")));
            files.push(PlainFile::verbatim(home.join(".union/keyring.cfg")));
        }
        files.extend(data.map(|data| PlainFile::escaped(data.join("python_keyring/keyring_pass.cfg"))));
        Self { files, asking: Arc::new(Semaphore::new(1)) }
    }

    /// Looks for the sessions of an endpoint.
    ///
    /// # Errors
    /// Fails where the desktop's keyring does not answer in time.
    pub async fn sessions(&self, endpoint: &str) -> Result<Found, Silent> {
        let slots = slots(endpoint);
        let files = self.files.clone();
        self.ask(move || {
            let mut found = SecretService::connect().map(|service| service.find(&slots)).unwrap_or_default();
            for file in &files {
                found.sessions.extend(file.find(&slots));
            }
            found.sessions.sort_by_key(|session| std::cmp::Reverse(session.modified));
            found
        })
        .await
    }

    /// Deletes sessions where they lie.
    ///
    /// # Errors
    /// Fails where the desktop's keyring does not answer in time.
    pub async fn delete(&self, sessions: Vec<Session>) -> Result<(), Silent> {
        self.ask(move || {
            let service = SecretService::connect();
            for session in sessions {
                match &session.place {
                    Place::Item(path) => service.iter().for_each(|service| service.delete(path)),
                    Place::Entry { file, section, key } => plain_file::delete(file, section, key),
                }
            }
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Silent> {
        let permit = Arc::clone(&self.asking).try_acquire_owned().map_err(|_| Silent)?;
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question();
            drop(permit);
            answer
        });
        timeout(PATIENCE, asked).await.map_err(|_| Silent)?.map_err(|_| Silent)
    }
}

impl Slot {
    /// Reads a session that is written there.
    fn session(&self, place: Place, secret: &[u8], modified: u64) -> Option<Session> {
        let text = str::from_utf8(secret).ok()?.trim();
        let refresh = match self.form {
            Form::Bare => Some(SecretString::from(text)),
            Form::Json => serde_json::from_str::<Written>(text).ok()?.refresh_token.map(SecretString::from),
        };
        let refresh = refresh.filter(|token| !token.expose_secret().is_empty());
        Some(Session { client: self.client, place, refresh, modified })
    }
}

/// Returns where the clients keep sessions for an endpoint: each names it as it stands in the configuration.
fn slots(endpoint: &str) -> Vec<Slot> {
    let schemes = ["dns:///", "https://", "http://"];
    let authority = schemes.iter().find_map(|scheme| endpoint.strip_prefix(scheme)).unwrap_or(endpoint);
    let authority = authority.trim_end_matches('/');
    let slot =
        |client, service: String, user: &str, form| Slot { client, service, user: user.to_owned(), form };
    let mut slots = vec![
        slot(Client::Flyte, authority.to_owned(), "tokens", Form::Json),
        slot(Client::Flyte, format!("{authority}/"), "tokens", Form::Json),
    ];
    for service in [authority.to_owned(), format!("https://{authority}"), format!("http://{authority}")] {
        slots.push(slot(Client::Flytekit, service, "refresh_token", Form::Bare));
    }
    for scheme in ["dns:///", "https://", "http://", ""] {
        let user = format!("{scheme}{authority}:flytectl-user");
        slots.push(slot(Client::Flytectl, "flytectl".to_owned(), &user, Form::Json));
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_names_an_endpoint_in_its_own_way() {
        let names: Vec<_> =
            slots("dns:///h:443").into_iter().map(|slot| (slot.client, slot.service, slot.user)).collect();
        for (client, service, user) in [
            (Client::Flytekit, "h:443", "refresh_token"),
            (Client::Flyte, "h:443", "tokens"),
            (Client::Flytectl, "flytectl", "dns:///h:443:flytectl-user"),
        ] {
            assert!(names.contains(&(client, service.to_owned(), user.to_owned())), "{client:?}: {names:?}");
        }
        assert_eq!(slots("https://h/"), slots("h"));
    }

    #[test]
    fn a_session_without_a_refresh_token_cannot_be_renewed() {
        let slots = slots("h");
        let json = slots.iter().find(|slot| slot.form == Form::Json).unwrap();
        let place = Place::Item("/x".to_owned());
        let read = |text: &str| json.session(place.clone(), text.as_bytes(), 0);
        let full =
            read(r#"{"access_token":"a","refresh_token":"r","expiry":"2026-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!(full.refresh.as_ref().unwrap().expose_secret(), "r");
        assert!(!format!("{full:?}").contains("\"r\""), "{full:?}");
        assert!(read(r#"{"access_token":"a","refresh_token":null}"#).unwrap().refresh.is_none());
        assert!(read(r#"{"access_token":"a","refresh_token":""}"#).unwrap().refresh.is_none());
        assert!(read("no JSON").is_none());
    }
}
