//! Texts that nobody can guess: what binds an answer to its question, and what stands for a code that was stolen.
//!
//! The thing to get wrong: they come from the operating system alone. A generator of our own would be seeded at best
//! as well as this.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

/// 256 bits, as RFC 7636 §4.1 recommends: 43 characters of base64url.
const OCTETS: usize = 32;

/// The operating system gave no random numbers.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(crate) struct NoRandomness(#[from] getrandom::Error);

/// Returns a new text of unreserved characters.
pub(crate) fn text() -> Result<SecretString, NoRandomness> {
    let mut octets = Zeroizing::new([0; OCTETS]);
    getrandom::fill(octets.as_mut_slice())?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(octets.as_slice()).into())
}
