//! The passphrase that unlocking takes: a slow hash of it, and a pause after each wrong one.
//!
//! The thing to get wrong is to keep the passphrase itself: it is gone as soon as it has been hashed.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::spawn_blocking;

const SALT_LENGTH: usize = 16;

const HASH_LENGTH: usize = 32;

/// The pause after the first wrong passphrase; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: as long as ssh-agent's.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is kept of a passphrase. Two of the same passphrase differ.
#[derive(Debug)]
pub(crate) struct Hashed {
    salt: [u8; SALT_LENGTH],
    hash: [u8; HASH_LENGTH],
}

/// A passphrase could not be hashed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the passphrase cannot be hashed: the system gives no memory, or no random numbers")]
pub struct Unhashed;

impl Hashed {
    /// Hashes a passphrase.
    pub(crate) async fn of(passphrase: SecretString) -> Result<Self, Unhashed> {
        let mut salt = [0; SALT_LENGTH];
        getrandom::fill(&mut salt).map_err(|_| Unhashed)?;
        Ok(Self { salt, hash: hash(passphrase, salt).await? })
    }

    /// Tells whether it is of this passphrase.
    pub(crate) async fn is_of(&self, passphrase: SecretString) -> Result<bool, Unhashed> {
        let other = hash(passphrase, self.salt).await?;
        // All bytes count, whichever differ: the time tells nothing.
        Ok(self.hash.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0)
    }
}

/// Returns how long to wait after so many wrong passphrases in a row.
pub(crate) fn pause_after(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// Hashes on a thread where that may take its time: Argon2id with the least that OWASP advises, 19 MiB in two passes.
async fn hash(passphrase: SecretString, salt: [u8; SALT_LENGTH]) -> Result<[u8; HASH_LENGTH], Unhashed> {
    let hashing = spawn_blocking(move || {
        let params = Params::new(Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, 1, None).ok()?;
        let mut hash = [0; HASH_LENGTH];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.expose_secret().as_bytes(), &salt, &mut hash).ok()?;
        Some(hash)
    });
    hashing.await.ok().flatten().ok_or(Unhashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_passphrase_is_recognised_and_nothing_else_is() {
        let hashed = Hashed::of("correct horse".into()).await.unwrap();
        assert!(hashed.is_of("correct horse".into()).await.unwrap());
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!hashed.is_of(wrong.into()).await.unwrap(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn the_same_passphrase_is_never_the_same_hash() {
        let (one, other) = (Hashed::of("x".into()).await.unwrap(), Hashed::of("x".into()).await.unwrap());
        assert_ne!(one.hash, other.hash);
    }

    #[test]
    fn the_pause_doubles_from_a_tenth_of_a_second_to_ten_seconds() {
        let pauses: Vec<u128> = (1..=9).map(|failures| pause_after(failures).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
