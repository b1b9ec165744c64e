//! A client's key pair on P-256: the private half as a user would keep it in a file, the public one for the issuer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

/// A key pair.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The private key in PKCS#8 PEM.
    pub pem: String,
    /// The public key: an uncompressed point.
    pub public: Vec<u8>,
}

impl SigningKey {
    /// Makes a key pair.
    ///
    /// # Panics
    /// Panics where the system has no random numbers.
    pub fn generate() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("random numbers");
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).expect("a key that was just made");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        Self { pem, public: pair.public_key().as_ref().to_vec() }
    }
}
