//! The store's key in use: settled at start, fetched once, then kept in memory until keyfob is locked.
//!
//! A keyring that is locked, silent or emptied keeps nobody from starting: every use asks it again, at a measured pace,
//! so that unlocking it heals the store. What only a restart can heal (a credential, a key file) fails at start. The
//! thing to get wrong is to make a new key while something is sealed with the old one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyfob_protocol::daemon::{StoreState, StoreStatus};

use crate::clock::{Clock, Moment};
use crate::store::choice::{KeyPlace, Recorded, Sealed};
use crate::store::directory::{Directory, FileError};
use crate::store::key::{Key, KeyError, KeyId, KeySource, NoRandomness};
use crate::store::key_file::KeyFile;
use crate::store::shelf::Shelf;
use crate::store::{OpenError, StoreError};

/// How long to leave a keyring alone after it gave no key: soon enough for whoever has just unlocked it, and no burden
/// where a hundred accounts wait for it.
pub(crate) const RETRY: Duration = Duration::from_secs(2);

/// The places that can keep the key, and what it depends on whether a new one may be made.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) keyring: Box<dyn KeySource>,
    pub(crate) credential: Box<dyn KeySource>,
    pub(crate) file: KeyFile,
    pub(crate) state_directory: Arc<Directory>,
    pub(crate) shelf: Arc<Shelf>,
}

/// The store's key, or why there is none yet.
#[derive(Debug)]
pub(crate) struct MasterKey {
    places: Places,
    place: KeyPlace,
    recorded: Option<KeyId>,
    state: Mutex<State>,
    /// Held while a place is asked, so that `state` never has to be.
    attempt: Mutex<()>,
}

#[derive(Debug)]
enum State {
    Held(Arc<Key>),
    Missing {
        tried: Moment,
        why: Missing,
    },
    /// It was forgotten on purpose: no place is asked for it. It is the one with this id, if there was one.
    Withheld {
        id: Option<KeyId>,
    },
}

/// Why there is no key yet.
#[derive(Clone, Debug)]
enum Missing {
    /// The keyring does not give it.
    Locked { hint: String },
    /// The keyring has none, or another one, and something is sealed.
    Gone,
}

/// Why there is no key, for whoever wants it now.
enum Denial {
    /// As long as the keyring is as it is.
    Lasting(Missing),
    /// This time.
    Once(StoreError),
}

/// Why one attempt gave no key.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Source(#[from] KeyError),
    #[error("something is sealed with a key that is gone")]
    Gone,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl MasterKey {
    /// Keeps to the choice that was made.
    pub(crate) fn keep(places: Places, recorded: Recorded, clock: &Clock) -> Result<Self, OpenError> {
        let attempt = places.obtain(recorded.place, Some(recorded.key_id));
        Self::started(places, recorded.place, attempt, clock)
            .map(|key| Self { recorded: Some(recorded.key_id), ..key })
    }

    /// Chooses a place. Nothing may be sealed.
    pub(crate) fn take(places: Places, place: KeyPlace, clock: &Clock) -> Result<Self, OpenError> {
        let attempt = places.obtain(place, None);
        Self::started(places, place, attempt, clock)
    }

    /// Chooses the first place that there is. Nothing may be sealed. A keyring that is locked is one that there is.
    pub(crate) fn take_first(places: Places, clock: &Clock) -> Result<Self, OpenError> {
        for place in [KeyPlace::Keyring, KeyPlace::Credential] {
            match places.obtain(place, None) {
                Err(Trouble::Source(KeyError::Unavailable(reason))) => {
                    tracing::debug!(%place, %reason, "the store's key cannot be kept there");
                }
                attempt => return Self::started(places, place, attempt, clock),
            }
        }
        Self::take(places, KeyPlace::File, clock)
    }

    fn started(
        places: Places,
        place: KeyPlace,
        attempt: Result<Key, Trouble>,
        clock: &Clock,
    ) -> Result<Self, OpenError> {
        let missing = |why| State::Missing { tried: clock.now().moment, why };
        let state = match (place, attempt) {
            (_, Ok(key)) => State::Held(Arc::new(key)),
            (KeyPlace::Keyring, Err(Trouble::Source(error))) => {
                missing(Missing::Locked { hint: error.to_string() })
            }
            (KeyPlace::Keyring, Err(Trouble::Gone)) => missing(Missing::Gone),
            (_, Err(Trouble::Source(source))) => return Err(OpenError::Key { place, source }),
            (_, Err(Trouble::Gone)) => {
                return Err(OpenError::WrongKey { sealed: places.shelf.path().to_owned(), place });
            }
            (_, Err(Trouble::File(error))) => return Err(error.into()),
            (_, Err(Trouble::NoRandomness(error))) => return Err(error.into()),
        };
        Ok(Self { places, place, recorded: None, state: Mutex::new(state), attempt: Mutex::new(()) })
    }

    /// Returns the key. Asks its place for it where need be, which takes a few seconds at the most.
    pub(crate) fn get(&self, clock: &Clock) -> Result<Arc<Key>, StoreError> {
        if let Some(known) = self.known(clock.now().moment) {
            return known;
        }
        let _attempt = locked(&self.attempt);
        // Somebody else may have asked while we waited for our turn.
        if let Some(known) = self.known(clock.now().moment) {
            return known;
        }
        match self.fetch(self.recorded) {
            Ok(key) => {
                *locked(&self.state) = State::Held(Arc::clone(&key));
                Ok(key)
            }
            Err(Denial::Once(error)) => Err(error),
            Err(Denial::Lasting(why)) => {
                let error = self.explain(&why);
                *locked(&self.state) = State::Missing { tried: clock.now().moment, why };
                Err(error)
            }
        }
    }

    /// Forgets the key. Until [`Self::recall`] nobody gets it, and its place is not asked.
    pub(crate) fn withhold(&self) {
        // Whoever asks now puts back what they get.
        let _attempt = locked(&self.attempt);
        let mut state = locked(&self.state);
        let id = match &*state {
            State::Held(key) => Some(key.id()),
            State::Missing { .. } => self.recorded,
            State::Withheld { id } => *id,
        };
        *state = State::Withheld { id };
    }

    /// Fetches the key that was forgotten, which takes a few seconds at the most. Where its place does not give it, it stays
    /// forgotten.
    pub(crate) fn recall(&self) -> Result<(), StoreError> {
        let _attempt = locked(&self.attempt);
        let State::Withheld { id } = *locked(&self.state) else { return Ok(()) };
        match self.fetch(id) {
            Ok(key) => {
                *locked(&self.state) = State::Held(key);
                Ok(())
            }
            Err(Denial::Once(error)) => Err(error),
            Err(Denial::Lasting(why)) => Err(self.explain(&why)),
        }
    }

    fn fetch(&self, known: Option<KeyId>) -> Result<Arc<Key>, Denial> {
        self.places.obtain(self.place, known).map(Arc::new).map_err(|trouble| match trouble {
            Trouble::Source(error) => Denial::Lasting(Missing::Locked { hint: error.to_string() }),
            Trouble::Gone => Denial::Lasting(Missing::Gone),
            Trouble::File(error) => Denial::Once(error.into()),
            Trouble::NoRandomness(error) => Denial::Once(error.into()),
        })
    }

    /// Returns the answer that needs no asking, if there is one.
    fn known(&self, now: Moment) -> Option<Result<Arc<Key>, StoreError>> {
        match &*locked(&self.state) {
            State::Held(key) => Some(Ok(Arc::clone(key))),
            State::Missing { tried, why } if now < tried.after(RETRY) => Some(Err(self.explain(why))),
            State::Missing { .. } => None,
            State::Withheld { .. } => Some(Err(StoreError::Withheld)),
        }
    }

    /// Returns where the key is kept.
    pub(crate) fn place(&self) -> KeyPlace {
        self.place
    }

    /// Returns what there is to say about the key. Waits for nothing.
    pub(crate) fn status(&self) -> StoreStatus {
        let (state, note) = match &*locked(&self.state) {
            State::Held(_) => (StoreState::Open, self.caution()),
            State::Missing { why, .. } => (StoreState::Locked, Some(self.explain(why).to_string())),
            State::Withheld { .. } => (StoreState::Locked, Some(StoreError::Withheld.to_string())),
        };
        StoreStatus { key: self.place.kind(), state, note }
    }

    fn caution(&self) -> Option<String> {
        match self.place {
            KeyPlace::Keyring | KeyPlace::Credential => None,
            KeyPlace::File => {
                let path = self.places.state_directory.path_of(KeyFile::NAME);
                Some(format!("the key lies in a plain file: {}", path.display()))
            }
        }
    }

    fn explain(&self, why: &Missing) -> StoreError {
        match why {
            Missing::Locked { hint } => StoreError::Locked { hint: hint.clone() },
            Missing::Gone => {
                StoreError::WrongKey { sealed: self.places.shelf.path().to_owned(), place: self.place }
            }
        }
    }
}

impl Places {
    /// Asks a place for the key; makes one where it has none and nothing is sealed. Records what is new.
    fn obtain(&self, place: KeyPlace, recorded: Option<KeyId>) -> Result<Key, Trouble> {
        let source = self.source(place);
        let found = match source.fetch()? {
            Some(key) if recorded == Some(key.id()) => return Ok(key),
            found => found,
        };
        if self.shelf.sealed()? == Sealed::Something {
            return Err(Trouble::Gone);
        }
        let key = match found {
            Some(key) => key,
            None => {
                source.create(&Key::random()?)?;
                // What the place has now is the key: a daemon with another state directory may have been faster.
                source.fetch()?.ok_or(KeyError::Unavailable("the key was accepted, but not kept".into()))?
            }
        };
        Recorded { place, key_id: key.id() }.write(&self.state_directory)?;
        Ok(key)
    }

    fn source(&self, place: KeyPlace) -> &dyn KeySource {
        match place {
            KeyPlace::Keyring => &*self.keyring,
            KeyPlace::Credential => &*self.credential,
            KeyPlace::File => &self.file,
        }
    }
}

/// No code that holds one of our locks can leave a value half made, so a panic elsewhere is no reason to stop.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
