//! The key that a refresh token is bound to (RFC 9449).
//!
//! It lives and dies with its refresh token: the one is worth nothing without the other.

use zeroize::Zeroizing;

use crate::secret::LockedBytes;

/// The private key of a proof of possession: P-256, in PKCS#8.
#[derive(Clone, Debug)]
pub struct ProofKey(LockedBytes);

impl ProofKey {
    /// Takes a key in PKCS#8 (RFC 5958). Whether it is one shows when it signs.
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Self {
        Self(pkcs8.into())
    }

    /// Returns the key in PKCS#8. To be exposed only where it signs, or is sealed.
    pub fn expose_pkcs8(&self) -> &[u8] {
        self.0.expose_secret()
    }
}
