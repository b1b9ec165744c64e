//! The store's one key, and the places where it can be kept.
//!
//! A [`KeySource`] is one such place. The thing to get wrong is to ask a person: no source ever prompts, because the
//! daemon runs where nobody may be looking.

use std::fmt;
use std::str;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secret::LockedKey;
use crate::store::directory::FileError;
use crate::token::digest::sha256;
use crate::token::failure::Message;

/// 256 random bits, under which tokens are sealed.
#[derive(Debug)]
pub struct Key(LockedKey);

/// The operating system gave no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness(#[from] getrandom::Error);

impl Key {
    /// In bytes.
    pub const LENGTH: usize = LockedKey::LENGTH;

    /// Returns a new key.
    ///
    /// # Errors
    /// Fails where the system has no random numbers.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut outcome = Ok(());
        let key = LockedKey::init_with(|bytes| outcome = getrandom::fill(bytes));
        outcome?;
        Ok(Self(key))
    }

    /// Reads a key: 32 bytes as they are, or 64 hexadecimal digits, which white space may follow.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() == Self::LENGTH {
            return Some(Self(LockedKey::init_with(|key| key.copy_from_slice(text))));
        }
        let digits = text.trim_ascii_end();
        if digits.len() != 2 * Self::LENGTH || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        Some(Self(LockedKey::init_with(|key| {
            for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
                *byte =
                    str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
            }
        })))
    }

    /// Returns the key as 64 hexadecimal digits: some keyrings (KWallet) hold nothing but text.
    pub fn to_hex(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Sized at once, so that it never moves and leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * Self::LENGTH));
        for byte in self.bytes() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Returns the name by which what is sealed tells its key.
    pub(crate) fn id(&self) -> KeyId {
        let digest = sha256(&[b"keyfob store key id\0", self.bytes()]);
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&digest[..KeyId::LENGTH]);
        KeyId(id)
    }

    /// Returns the key's bytes, for the cipher.
    pub(crate) fn bytes(&self) -> &[u8; Self::LENGTH] {
        self.0.expose_secret()
    }
}

/// Which key it was, without the key: 64 bits of a hash, told apart from every other use of the key by its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct KeyId(pub(crate) [u8; Self::LENGTH]);

impl KeyId {
    /// In bytes.
    pub(crate) const LENGTH: usize = 8;
}

/// A text is no key id.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a key id is 16 hexadecimal digits")]
pub(crate) struct InvalidKeyId;

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        if text.len() != 2 * Self::LENGTH || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidKeyId);
        }
        let number = u64::from_str_radix(&text, 16).map_err(|_| InvalidKeyId)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        format!("{:016x}", u64::from_be_bytes(id.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

/// Where the user wants the key to be kept: `[store] key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyChoice {
    /// In the first place that there is: keyring, credential, file.
    #[default]
    Auto,
    /// In the Secret Service of the desktop.
    Keyring,
    /// In a systemd credential.
    Credential,
    /// In a file that only its owner can read.
    File,
    /// Nowhere: tokens end with the daemon.
    Memory,
}

/// A place that can keep the key.
pub trait KeySource: fmt::Debug + Send + Sync {
    /// Reads the key; nothing where the place has none. Never asks a person; takes 3 s at the most.
    ///
    /// # Errors
    /// See [`KeyError`].
    fn fetch(&self) -> Result<Option<Key>, KeyError>;

    /// Puts a key in the place, which has none. Never asks a person; takes 3 s at the most.
    ///
    /// # Errors
    /// See [`KeyError`].
    fn create(&self, key: &Key) -> Result<(), KeyError>;
}

/// Why a place does not give the key, by remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It has to be unlocked.
    #[error("unlock the keyring, for example by logging in to the desktop")]
    Locked,
    /// It is not there, or does not answer.
    #[error("{0}")]
    Unavailable(Message),
    /// What it has is no key.
    #[error("{0}")]
    Unusable(Message),
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_64_digits() {
        let key = Key::parse(&[0xab; 32]).unwrap();
        assert_eq!(*key.to_hex(), "ab".repeat(32));
        for same in ["ab".repeat(32), "AB".repeat(32) + "\n"] {
            assert_eq!(Key::parse(same.as_bytes()).unwrap().bytes(), key.bytes());
        }
        let bad =
            [&[0; 31][..], &[0; 33], &[0; 64], "g".repeat(64).as_bytes(), "ab".repeat(31).as_bytes(), b""]
                .map(Vec::from);
        for bad in bad {
            assert!(Key::parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn every_new_key_is_another() {
        assert_ne!(Key::random().unwrap().bytes(), Key::random().unwrap().bytes());
    }

    #[test]
    fn the_debug_form_of_a_key_shows_nothing() {
        let key = Key::parse(&[b'K'; 32]).unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains("KK") && !shown.contains("75") && !shown.contains("4b"), "{shown}");
    }

    #[test]
    fn a_key_id_is_read_as_it_is_written_and_tells_nothing_else() {
        let id = Key::parse(&[1; 32]).unwrap().id();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<KeyId>(&json).unwrap(), id);
        for bad in
            [r#""""#, r#""12""#, r#""00000000000000zz""#, r#""+000000000000001""#, r#""0000000000000000a""#]
        {
            assert!(serde_json::from_str::<KeyId>(bad).is_err(), "{bad}");
        }
    }
}
