//! SHA-256 of what is secret, which leaves nothing of it behind; and how hashes are written.
//!
//! A hasher holds the last block of what it is given. The thing to get wrong is to let it be moved, as `digest` and
//! `finalize` do: it is wiped where it ends, and not where it was before.

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
