//! Proof Key for Code Exchange (RFC 7636), always with S256: whoever steals a code cannot exchange it.
//!
//! The thing to get wrong: the verifier stays here until the exchange. Only its hash goes through the browser.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::oauth::random::{self, NoRandomness};

/// The one method that we use (RFC 7636 §4.2): `plain` protects from nobody who sees the request.
pub(crate) const METHOD: &str = "S256";

/// A code verifier, for one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Verifier(SecretString);

impl Verifier {
    /// Returns a new one.
    pub(crate) fn fresh() -> Result<Self, NoRandomness> {
        random::text().map(Self)
    }

    /// Returns the verifier, for the exchange.
    pub(crate) fn secret(&self) -> &SecretString {
        &self.0
    }

    /// Returns its challenge, for the browser.
    pub(crate) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfcs_example_7636_5() {
        let verifier = Verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn verifiers_are_unreserved_texts_of_43_characters_and_never_repeat_7636_1() {
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let text = Verifier::fresh().unwrap().secret().expose_secret().to_owned();
            assert_eq!(text.len(), 43);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn the_debug_form_holds_no_verifier() {
        let verifier = Verifier::fresh().unwrap();
        assert!(!format!("{verifier:?}").contains(verifier.secret().expose_secret()));
    }
}
