//! SHA-256 of what is secret, which leaves nothing of it behind; and how hashes are written.
//!
//! A hasher holds the last block of what it is given. The thing to get wrong is to let it be moved, as `digest` and
//! `finalize` do: it is wiped where it ends, and not where it was before.

use std::fmt;

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of these parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_reset().into()
}

/// Returns bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How much of a hash tells a token from others to people: 16 digits.
const FINGERPRINT_BYTES: usize = 8;

/// A token by its SHA-256: enough to know it again, useless to whoever sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Returns the hash of a token.
    pub fn of(token: &str) -> Self {
        Self(sha256(&[token.as_bytes()]))
    }

    /// Reads the hexadecimal form.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() || !text.is_ascii() {
            return None;
        }
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Returns the beginning of it, in hexadecimal: enough to tell tokens apart.
    pub fn fingerprint(&self) -> String {
        hex(&self.0[..FINGERPRINT_BYTES])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_everybody_takes_for_sha_256() {
        for text in ["", "abc", &"x".repeat(200)] {
            assert_eq!(sha256(&[text.as_bytes()]), <[u8; 32]>::from(Sha256::digest(text)));
        }
        assert_eq!(sha256(&[b"ab", b"", b"c"]), sha256(&[b"abc"]));
    }
}
