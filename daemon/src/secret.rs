//! Memory for what must not leak: the store's key, and whatever a login can be taken over with.
//!
//! Its pages are locked, so that they never reach a disk by way of swap; they are in no core and in no fork, and wiped when
//! their owner goes. Copies share one place. The thing to get wrong is to call a secret wiped because it is in here: what
//! others made of it on the way (a buffer of TLS, a line of JSON) is wiped when it is freed, by keyfobd's
//! allocator, and not before.

mod arena;
#[expect(
    unsafe_code,
    reason = "the one place where memory is taken from the system, and wiped behind Rust's back"
)]
mod raw_memory;

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::arena::Slot;

pub use raw_memory::wipe_variable;

/// A secret text in locked memory.
#[derive(Clone)]
pub struct LockedText(LockedBytes);

impl ExposeSecret<str> for LockedText {
    /// Returns the text. To be exposed only where bytes leave.
    fn expose_secret(&self) -> &str {
        std::str::from_utf8(self.0.expose_secret()).expect("it was copied from a text")
    }
}

impl From<&str> for LockedText {
    fn from(text: &str) -> Self {
        Self(LockedBytes::from(text.as_bytes()))
    }
}

impl From<String> for LockedText {
    /// Moves a text into locked memory, and wipes it where it was.
    fn from(mut text: String) -> Self {
        let locked = Self::from(text.as_str());
        text.zeroize();
        locked
    }
}

impl From<&SecretString> for LockedText {
    fn from(secret: &SecretString) -> Self {
        Self::from(secret.expose_secret())
    }
}

impl fmt::Debug for LockedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedText([secret])")
    }
}

/// Secret bytes in locked memory.
#[derive(Clone)]
pub struct LockedBytes {
    slot: Arc<Slot>,
    length: usize,
}

impl LockedBytes {
    /// Returns the bytes. To be exposed only where they are used, or sealed.
    pub fn expose_secret(&self) -> &[u8] {
        &self.slot.bytes()[..self.length]
    }
}

impl From<&[u8]> for LockedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut slot = arena::slot(bytes.len());
        slot.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Self { slot: Arc::new(slot), length: bytes.len() }
    }
}

impl From<Zeroizing<Vec<u8>>> for LockedBytes {
    /// Moves bytes into locked memory; they are wiped where they were.
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self::from(bytes.as_slice())
    }
}

impl fmt::Debug for LockedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedBytes([secret])")
    }
}

/// A key of 256 bits in locked memory.
pub struct LockedKey(Slot);

impl LockedKey {
    /// In bytes.
    pub const LENGTH: usize = 32;

    /// Returns a key that something writes in place, so that there is no other copy of it.
    pub fn init_with(write: impl FnOnce(&mut [u8; Self::LENGTH])) -> Self {
        let mut slot = arena::slot(Self::LENGTH);
        write(slot.bytes_mut().first_chunk_mut().expect(LONG_ENOUGH));
        Self(slot)
    }

    /// Returns the key. To be exposed only to the cipher, and to where it is kept.
    pub fn expose_secret(&self) -> &[u8; Self::LENGTH] {
        self.0.bytes().first_chunk().expect(LONG_ENOUGH)
    }
}

const LONG_ENOUGH: &str = "a slot is as long as was asked for";

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_away_is_what_comes_out_and_no_debug_form_has_it() {
        let text = LockedText::from("CANARY-\u{e9}".to_owned());
        let bytes = LockedBytes::from(Zeroizing::new(b"CANARY".to_vec()));
        let key = LockedKey::init_with(|key| key.copy_from_slice(&[b'C'; 32]));
        assert_eq!(text.clone().expose_secret(), "CANARY-\u{e9}");
        assert_eq!(LockedText::from(&SecretString::from("")).expose_secret(), "");
        assert_eq!((bytes.expose_secret(), key.expose_secret()), (&b"CANARY"[..], &[b'C'; 32]));
        assert!(!format!("{text:?} {bytes:?} {key:?}").contains("CA"));
        assert!(!format!("{key:?}").contains("67"));
    }

    #[test]
    fn copies_share_one_place() {
        let one = LockedText::from("CANARY");
        let other = one.clone();
        assert_eq!(one.expose_secret().as_ptr(), other.expose_secret().as_ptr());
        drop(one);
        assert_eq!(other.expose_secret(), "CANARY");
    }
}
