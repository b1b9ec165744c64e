//! Where the key is kept: chosen once, and recorded in `store.json`.
//!
//! The thing to get wrong is to choose again. A recorded place that cannot be reached is an obstacle, never a reason to
//! take another one: the tokens would be lost, or be sealed with a key that lies in a quieter place.

use std::fmt;
use std::path::PathBuf;

use keyfob_protocol::daemon::KeyKind;
use serde::{Deserialize, Serialize};

use crate::store::directory::{Content, Directory, FileError};
use crate::store::key::{KeyChoice, KeyId};

/// The one format so far.
const FORMAT: u32 = 1;

/// Much more than the record needs.
const LONGEST_FILE: usize = 64 * 1024;

/// A place where the key can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// The Secret Service of the desktop.
    Keyring,
    /// A systemd credential.
    Credential,
    /// A file that only its owner can read.
    File,
}

impl KeyPlace {
    /// Returns the place's name on the wire.
    pub(crate) fn kind(self) -> KeyKind {
        match self {
            Self::Keyring => KeyKind::Keyring,
            Self::Credential => KeyKind::Credential,
            Self::File => KeyKind::File,
        }
    }

    /// Returns the place's name in the configuration.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Credential => "credential",
            Self::File => "file",
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyring => "the keyring",
            Self::Credential => "the systemd credential",
            Self::File => "the key file",
        })
    }
}

/// The recorded choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Where the key is.
    pub(crate) place: KeyPlace,
    /// Which key it is.
    pub(crate) key_id: KeyId,
}

/// Why there is no reading the recorded choice.
#[derive(Debug)]
pub(crate) enum Unread {
    /// A later version wrote it.
    NewerFormat(PathBuf),
    /// It is not what anybody recorded.
    Damaged(PathBuf),
    /// Its file cannot be used.
    File(FileError),
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    #[serde(flatten)]
    choice: Option<Choice>,
}

#[derive(Serialize, Deserialize)]
struct Choice {
    key: KeyPlace,
    key_id: KeyId,
}

impl Recorded {
    /// The record's file in the state directory.
    pub(crate) const NAME: &str = "store.json";

    /// Reads the recorded choice, if one was made.
    pub(crate) fn read(directory: &Directory) -> Result<Option<Self>, Unread> {
        let Some(json) = directory.read(Self::NAME, LONGEST_FILE).map_err(Unread::File)? else {
            return Ok(None);
        };
        let path = directory.path_of(Self::NAME);
        // The format comes first: what else a later one has is not ours to parse.
        match serde_json::from_slice::<OnDisk>(&json) {
            Ok(record) if record.format > FORMAT => Err(Unread::NewerFormat(path)),
            Ok(OnDisk { format: FORMAT, choice: Some(choice) }) => {
                Ok(Some(Self { place: choice.key, key_id: choice.key_id }))
            }
            Ok(_) | Err(_) => Err(Unread::Damaged(path)),
        }
    }

    /// Records the choice.
    pub(crate) fn write(self, directory: &Directory) -> Result<(), FileError> {
        let choice = Some(Choice { key: self.place, key_id: self.key_id });
        let record = OnDisk { format: FORMAT, choice };
        let json = serde_json::to_vec(&record).expect("numbers and strings are JSON");
        directory.replace(Self::NAME, Content::Other(&json))
    }
}

/// Where the key of a store comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// There is no key: nothing is written.
    Memory,
    /// The choice was made.
    Keep(Recorded),
    /// The choice is made now, for this place.
    Take(KeyPlace),
    /// The choice is made now, for the first place that there is.
    TakeFirst,
}

/// What is configured contradicts what is recorded, and tokens are sealed under the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// What is recorded.
    pub(crate) recorded: KeyPlace,
}

/// Whether a sealed file exists: tokens that need the key that they were sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// None does.
    Nothing,
    /// Some do.
    Something,
}

/// Decides where the key of a store comes from.
pub(crate) fn decide(
    choice: KeyChoice,
    recorded: Option<Recorded>,
    sealed: Sealed,
) -> Result<Decision, Contradiction> {
    let wanted = match choice {
        KeyChoice::Auto => return Ok(recorded.map_or(Decision::TakeFirst, Decision::Keep)),
        KeyChoice::Memory => Decision::Memory,
        KeyChoice::Keyring => Decision::Take(KeyPlace::Keyring),
        KeyChoice::Credential => Decision::Take(KeyPlace::Credential),
        KeyChoice::File => Decision::Take(KeyPlace::File),
    };
    match recorded {
        Some(recorded) if wanted == Decision::Take(recorded.place) => Ok(Decision::Keep(recorded)),
        Some(Recorded { place, .. }) if sealed == Sealed::Something => Err(Contradiction { recorded: place }),
        Some(_) | None => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::key::Key;

    const PLACES: [(KeyChoice, KeyPlace); 3] = [
        (KeyChoice::Keyring, KeyPlace::Keyring),
        (KeyChoice::Credential, KeyPlace::Credential),
        (KeyChoice::File, KeyPlace::File),
    ];

    #[test]
    fn a_choice_that_was_made_is_kept_whatever_auto_would_find() {
        for (_, place) in PLACES {
            for sealed in [Sealed::Nothing, Sealed::Something] {
                let decision = decide(KeyChoice::Auto, Some(recorded(place)), sealed);
                assert_eq!(decision, Ok(Decision::Keep(recorded(place))));
            }
        }
    }

    #[test]
    fn another_choice_is_refused_while_something_is_sealed_and_simply_made_otherwise() {
        for (choice, wanted) in PLACES {
            for (_, place) in PLACES {
                let made = Some(recorded(place));
                let same = Ok(Decision::Keep(recorded(place)));
                let refused = Err(Contradiction { recorded: place });
                let taken = Ok(Decision::Take(wanted));
                assert_eq!(
                    decide(choice, made, Sealed::Something),
                    if place == wanted { same } else { refused }
                );
                assert_eq!(decide(choice, made, Sealed::Nothing), if place == wanted { same } else { taken });
                assert_eq!(decide(KeyChoice::Memory, made, Sealed::Something), refused);
                assert_eq!(decide(KeyChoice::Memory, made, Sealed::Nothing), Ok(Decision::Memory));
            }
            assert_eq!(decide(choice, None, Sealed::Nothing), Ok(Decision::Take(wanted)));
        }
        assert_eq!(decide(KeyChoice::Auto, None, Sealed::Nothing), Ok(Decision::TakeFirst));
        assert_eq!(decide(KeyChoice::Memory, None, Sealed::Nothing), Ok(Decision::Memory));
    }

    #[test]
    fn the_record_is_read_as_it_is_written() {
        let (_dir, directory) = empty();
        assert!(Recorded::read(&directory).unwrap().is_none());
        recorded(KeyPlace::Keyring).write(&directory).unwrap();
        assert_eq!(Recorded::read(&directory).unwrap(), Some(recorded(KeyPlace::Keyring)));
    }

    #[test]
    fn the_first_format_of_the_record_is_read_for_ever() {
        let json = r#"{"format":1,"key":"keyring","key_id":"0123456789abcdef","later":true}"#;
        let recorded = read(json).unwrap().unwrap();
        assert_eq!(recorded.place, KeyPlace::Keyring);
        assert_eq!(recorded.key_id.0, [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    }

    #[test]
    fn a_later_record_is_told_from_a_damaged_one() {
        for later in [r#"{"format":2}"#, r#"{"format":2,"key":{"slot":1},"key_id":7}"#] {
            assert!(matches!(read(later), Err(Unread::NewerFormat(_))), "{later}");
        }
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"format":0,"key":"file","key_id":"0123456789abcdef"}"#,
            r#"{"format":1}"#,
            r#"{"format":1,"key":"cloud","key_id":"0123456789abcdef"}"#,
            r#"{"format":1,"key":"file","key_id":"0123"}"#,
        ] {
            assert!(matches!(read(damaged), Err(Unread::Damaged(_))), "{damaged}");
        }
    }

    fn read(json: &str) -> Result<Option<Recorded>, Unread> {
        let (_dir, directory) = empty();
        directory.replace(Recorded::NAME, Content::Other(json.as_bytes())).unwrap();
        Recorded::read(&directory)
    }

    fn recorded(place: KeyPlace) -> Recorded {
        Recorded { place, key_id: Key::parse(&[1; 32]).unwrap().id() }
    }

    fn empty() -> (TempDir, Directory) {
        let dir = TempDir::new().unwrap();
        let directory = Directory::open(&dir.path().join("state")).unwrap();
        (dir, directory)
    }
}
