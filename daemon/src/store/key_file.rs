//! The key in a file: in a systemd credential, which is only read, and in a file of our own.
//!
//! A plain key file protects against other users, and against a backup that has the tokens but not the key. Against
//! whoever can read the user's files it protects nothing, and `status` says so.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::store::directory::{Content, Directory, FileError};
use crate::store::key::{Key, KeyError, KeySource};

/// Much more than a key in any form: what is longer is no key.
const LONGEST_FILE: usize = 4096;

/// The key in a file of our own.
#[derive(Debug)]
pub(crate) struct KeyFile {
    directory: Arc<Directory>,
}

impl KeyFile {
    /// The name of the file in the state directory.
    pub(crate) const NAME: &'static str = "key";

    /// Returns the key file in a directory.
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }
}

impl KeySource for KeyFile {
    fn fetch(&self) -> Result<Option<Key>, KeyError> {
        let Some(text) = self.directory.read(Self::NAME, LONGEST_FILE)? else { return Ok(None) };
        let path = self.directory.path_of(Self::NAME);
        Key::parse(&text).map(Some).ok_or_else(|| unusable(&path.display().to_string()))
    }

    fn create(&self, key: &Key) -> Result<(), KeyError> {
        Ok(self.directory.replace(Self::NAME, Content::Other(key.to_hex().as_bytes()))?)
    }
}

/// The key in a systemd credential: systemd owns the file, so its owner and mode are not ours to judge.
#[derive(Debug)]
pub struct Credential {
    path: Option<PathBuf>,
}

impl Credential {
    /// The credential's name, for `LoadCredential=` and the like.
    pub const NAME: &'static str = "keyfob-key";

    /// Returns the credential at `$CREDENTIALS_DIRECTORY/keyfob-key`; nothing where systemd gave us no directory.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }
}

impl KeySource for Credential {
    fn fetch(&self) -> Result<Option<Key>, KeyError> {
        let Some(path) = &self.path else { return Err(no_credential()) };
        let failed = |source| FileError::Io { doing: "read", path: path.clone(), source };
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("the flag is a low bit");
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_credential()),
            opened => opened.map_err(failed)?,
        };
        let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_FILE + 1));
        file.take(LONGEST_FILE as u64).read_to_end(&mut text).map_err(failed)?;
        Key::parse(&text).map(Some).ok_or_else(|| unusable("the systemd credential keyfob-key"))
    }

    fn create(&self, _: &Key) -> Result<(), KeyError> {
        Err(no_credential())
    }
}

fn no_credential() -> KeyError {
    KeyError::Unavailable("there is no systemd credential keyfob-key".into())
}

fn unusable(place: &str) -> KeyError {
    KeyError::Unusable(format!("{place} is no key: neither 32 bytes nor 64 hexadecimal digits").into())
}
