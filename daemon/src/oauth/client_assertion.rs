//! Client assertions (RFC 7521 §4.2, RFC 7523 §2.2): a short-lived JWT, signed by the client's private key, in place of a
//! secret that would have to be sent.
//!
//! The thing to get wrong: an assertion is for one request. It has an identifier of its own, names the one issuer that it
//! is for, and dies within two minutes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::oauth::random;

/// `client_assertion_type` (RFC 7523 §2.2).
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good: for one request, and for clocks that differ by a minute.
const LIFE: Duration = Duration::from_secs(120);

/// The lines around a key that we can read.
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A text is no private key that we can sign with. It repeats nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    #[error(
        "the private key must be PEM with \"BEGIN PRIVATE KEY\": convert it with openssl pkcs8 -topk8 -nocrypt"
    )]
    NotPkcs8,
    #[error("the private key must be an EC key on P-256 or an RSA key of at least 2048 bits")]
    NotSupported,
}

/// An assertion could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers to sign with")]
pub(crate) struct NotSigned;

/// A private key.
pub(crate) enum SigningKey {
    /// ES256.
    Ec(EcdsaKeyPair),
    /// RS256.
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Reads a key in PKCS#8 PEM.
    pub(crate) fn read(pem: &SecretString) -> Result<Self, InvalidKey> {
        let text = pem.expose_secret();
        let body =
            text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).ok_or(InvalidKey::NotPkcs8)?.0;
        let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let der = BASE64_STANDARD.decode(body.as_bytes()).map_err(|_| InvalidKey::NotPkcs8)?;
        let der = Zeroizing::new(der);
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
        let rsa = || RsaKeyPair::from_pkcs8(&der).map(Self::Rsa).map_err(|_| InvalidKey::NotSupported);
        ec.map(Self::Ec).or_else(|_| rsa())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => {
                key.sign(&random, text).map(|signature| signature.as_ref().to_vec()).map_err(|_| NotSigned)
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).map_err(|_| NotSigned)?;
                Ok(signature)
            }
        }
    }
}

/// What assertions are made of.
#[derive(Clone)]
pub(crate) struct Assertor {
    /// The private key.
    pub(crate) key: Arc<SigningKey>,
    /// Its name at the issuer (`kid`), where it has one.
    pub(crate) key_id: Option<String>,
    /// Whom the assertions are for: the issuer, or its token endpoint where it has no other name.
    pub(crate) audience: String,
}

impl fmt::Debug for Assertor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertor").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Assertor {
    /// Returns an assertion for one request.
    pub(crate) fn assertion(&self, client_id: &str, now: Now) -> Result<SecretString, NotSigned> {
        let mut header = json!({ "alg": self.key.algorithm(), "typ": "JWT" });
        if let Some(key_id) = &self.key_id {
            header["kid"] = key_id.as_str().into();
        }
        let issued = now.wall.as_second();
        let life = i64::try_from(LIFE.as_secs()).expect("a small constant");
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": self.audience,
            "jti": random::text().map_err(|_| NotSigned)?.expose_secret(),
            "iat": issued,
            "exp": issued.saturating_add(life),
        });
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed =
            format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", part(&signature)).into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;
    use crate::clock::Clock;

    /// Returns a new EC key as PEM.
    pub(crate) fn ec_pem() -> SecretString {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        format!("{BEGIN}\n{}\n{END}\n", BASE64_STANDARD.encode(der.as_ref())).into()
    }

    fn decoded(part: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    fn verified(assertion: &SecretString, key: &SigningKey) -> (Value, Value) {
        let (signed, signature) = assertion.expose_secret().rsplit_once('.').unwrap();
        let signature = decoded(signature);
        match key {
            SigningKey::Ec(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
                    .verify(signed.as_bytes(), &signature)
                    .unwrap()
            }
            SigningKey::Rsa(key) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref())
                    .verify(signed.as_bytes(), &signature)
                    .unwrap()
            }
        }
        let (header, claims) = signed.split_once('.').unwrap();
        (serde_json::from_slice(&decoded(header)).unwrap(), serde_json::from_slice(&decoded(claims)).unwrap())
    }

    #[test]
    fn an_assertion_is_short_lived_unique_and_for_one_issuer_7523_1() {
        let rsa = SecretString::from(include_str!("client_assertion/fixtures/rsa.pem"));
        for (pem, algorithm, key_id) in [(ec_pem(), "ES256", Some("k1")), (rsa, "RS256", None)] {
            let assertor = Assertor {
                key: Arc::new(SigningKey::read(&pem).unwrap()),
                key_id: key_id.map(str::to_owned),
                audience: "https://i".to_owned(),
            };
            let now = Clock::system().now();
            let (header, claims) = verified(&assertor.assertion("my \"id\"", now).unwrap(), &assertor.key);
            assert_eq!((&header["alg"], header["kid"].as_str()), (&algorithm.into(), key_id));
            assert_eq!((&claims["iss"], &claims["sub"]), (&"my \"id\"".into(), &"my \"id\"".into()));
            assert_eq!(claims["aud"], "https://i");
            assert_eq!(claims["iat"], now.wall.as_second());
            assert_eq!(claims["exp"], now.wall.as_second() + 120);
            let (_, other) = verified(&assertor.assertion("my \"id\"", now).unwrap(), &assertor.key);
            assert_ne!(claims["jti"], other["jti"]);
            assert!(!format!("{assertor:?}").contains("Ec"));
        }
    }

    #[test]
    fn what_is_no_usable_key_is_told_without_repeating_it() {
        let ec = ec_pem();
        let good = ec.expose_secret();
        for (text, expected) in [
            (String::new(), InvalidKey::NotPkcs8),
            ("CANARY".to_owned(), InvalidKey::NotPkcs8),
            (good.replace("PRIVATE", "EC PRIVATE"), InvalidKey::NotPkcs8),
            (good.replace("END", "STOP"), InvalidKey::NotPkcs8),
            (format!("{BEGIN}\nCANARY!\n{END}"), InvalidKey::NotPkcs8),
            (format!("{BEGIN}\nQ0FOQVJZ\n{END}"), InvalidKey::NotSupported),
            (good.replace("MIG", "MIH"), InvalidKey::NotSupported),
        ] {
            let Err(invalid) = SigningKey::read(&text.clone().into()) else { panic!("{text}") };
            assert_eq!(invalid, expected, "{text}");
        }
        // Text around the key, and lines of any length, are fine.
        assert!(SigningKey::read(&format!("Bag Attributes\n{}", good.replace('\n', "\r\n")).into()).is_ok());
    }
}
