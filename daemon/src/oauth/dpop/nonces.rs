//! The nonces that issuers want to see in proofs (RFC 9449 §8).
//!
//! The thing to get wrong: an issuer gives a new one whenever it likes, beside a success too, and takes no older one. So
//! every answer is listened to, and the newest is used until there is a newer one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::oauth::EndpointUrl;

/// The header that a nonce comes in.
pub(crate) const HEADER: &str = "dpop-nonce";

/// Nonces of a few dozen characters are usual, sealed ones have some hundreds. It comes back to whoever gave it, in a
/// header, and a longer one would not fit there.
const LONGEST: usize = 2048;

/// Endpoints of an account are at one origin or two. More are remembered than anybody configures.
const MOST_ORIGINS: usize = 64;

/// The newest nonce of each origin. Clones share what was heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nonces(Arc<Mutex<BTreeMap<String, String>>>);

impl Nonces {
    /// Takes in the `DPoP-Nonce` of an answer.
    pub(crate) fn hear(&self, endpoint: &EndpointUrl, nonce: &str) {
        // RFC 9449 §8.1: NQCHAR of RFC 6749 §A.
        let is_one = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if nonce.is_empty() || nonce.len() > LONGEST || !nonce.bytes().all(is_one) {
            return;
        }
        let (mut known, origin) = (self.known(), endpoint.origin());
        if known.len() < MOST_ORIGINS || known.contains_key(&origin) {
            known.insert(origin, nonce.to_owned());
        }
    }

    /// Returns the newest nonce of an endpoint's origin.
    pub(crate) fn newest(&self, endpoint: &EndpointUrl) -> Option<String> {
        self.known().get(&endpoint.origin()).cloned()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::LoopbackHttp;

    fn endpoint(url: &str) -> EndpointUrl {
        EndpointUrl::parse(url, LoopbackHttp::Refused).unwrap()
    }

    #[test]
    fn the_newest_nonce_of_an_origin_is_in_force_until_there_is_a_newer_one_9449_3() {
        let (nonces, token) = (Nonces::default(), endpoint("https://i/token"));
        assert_eq!(nonces.newest(&token), None);
        let longest = "n".repeat(LONGEST);
        for (heard, expected) in [
            ("one", "one"),
            ("two", "two"),
            ("", "two"),
            ("no spaces", "two"),
            ("no\"quotes", "two"),
            ("no\\escapes", "two"),
            ("n\u{f6}", "two"),
            (&"n".repeat(LONGEST + 1), "two"),
            (&longest, &longest),
        ] {
            nonces.clone().hear(&token, heard);
            assert_eq!(nonces.newest(&endpoint("https://i/other?x")).unwrap(), expected, "{heard}");
        }
        assert_eq!(nonces.newest(&endpoint("https://j/token")), None);
    }

    #[test]
    fn no_more_origins_are_remembered_than_anybody_has() {
        let nonces = Nonces::default();
        for number in 0..MOST_ORIGINS + 1 {
            nonces.hear(&endpoint(&format!("https://h{number}/token")), "one");
        }
        assert_eq!(nonces.newest(&endpoint(&format!("https://h{MOST_ORIGINS}/token"))), None);
        nonces.hear(&endpoint("https://h0/token"), "two");
        assert_eq!(nonces.newest(&endpoint("https://h0/token")).unwrap(), "two");
    }
}
