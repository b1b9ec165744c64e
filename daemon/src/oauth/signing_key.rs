//! A private key that signs, and the JWTs that it signs (RFC 7515 §3.1).
//!
//! The thing to get wrong: a key that cannot be read is told of without a letter of it.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

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

/// A JWT could not be signed.
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

    /// Returns a JWT (RFC 7519) with these claims. What signs it is said in its header by itself.
    pub(crate) fn jwt(&self, mut header: Value, claims: &Value) -> Result<SecretString, NotSigned> {
        header["alg"] = self.algorithm().into();
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed =
            format!("{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", part(&signature)).into())
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

#[cfg(test)]
pub(crate) mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// Returns a new EC key as PEM.
    pub(crate) fn ec_pem() -> SecretString {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        format!("{BEGIN}\n{}\n{END}\n", BASE64_STANDARD.encode(der.as_ref())).into()
    }

    fn decoded(part: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    /// Returns the header and the claims of a JWT that a key has signed.
    pub(crate) fn verified(jwt: &SecretString, key: &SigningKey) -> (Value, Value) {
        let (signed, signature) = jwt.expose_secret().rsplit_once('.').unwrap();
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
