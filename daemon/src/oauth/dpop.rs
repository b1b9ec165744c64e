//! Proofs that we have the key that a refresh token is bound to (RFC 9449 §4): what is stolen without its key is worth
//! nothing, and so an issuer need not replace it at each use.
//!
//! The thing to get wrong: a proof is for one request. It has an identifier of its own, names the one endpoint that it is
//! for, and shows the public half of the key alone.

pub(crate) mod nonces;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::oauth::signing_key::{NotSigned, SigningKey};
use crate::oauth::{EndpointUrl, random};
use crate::token::ProofKey;

/// What a proof signs with: the one algorithm that we have, as metadata name it.
pub(crate) const ALGORITHM: &str = "ES256";

/// The header that a proof goes in.
pub(crate) const HEADER: &str = "dpop";

/// Every request to a token endpoint has this method.
const METHOD: &str = "POST";

/// What an uncompressed point begins with (SEC 1 §2.3.3), before its two coordinates.
const UNCOMPRESSED: u8 = 4;

/// The octets of a coordinate on P-256.
const COORDINATE: usize = 32;

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoProof {
    /// What was kept is no key on P-256.
    #[error("the key that the refresh token is bound to cannot be read: log in again")]
    NoKey,
    /// There is nothing to make secrets of.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
}

/// Makes a key.
pub(crate) fn fresh_key() -> Result<ProofKey, NotSigned> {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    der.map(|der| ProofKey::from_pkcs8(Zeroizing::new(der.as_ref().to_vec()))).map_err(|_| NotSigned)
}

/// Returns the name of a key: the hash of its public half (RFC 7638 §3, `dpop_jkt` of RFC 9449 §10).
pub(crate) fn thumbprint(key: &ProofKey) -> Result<String, NoProof> {
    // The members are in the order of their names, as the hash wants them.
    let jwk = public_jwk(&pair(key)?)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(jwk.to_string())))
}

/// What a proof is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    /// Where the request goes.
    pub(crate) endpoint: &'a EndpointUrl,
    /// What the issuer wants to see in it, where it said (RFC 9449 §8).
    pub(crate) nonce: Option<&'a str>,
    /// The time by the issuer's own clock.
    pub(crate) now: Now,
}

/// Returns a proof for one request.
pub(crate) fn proof(key: &ProofKey, occasion: Occasion<'_>) -> Result<SecretString, NoProof> {
    let pair = pair(key)?;
    let header = json!({ "typ": "dpop+jwt", "jwk": public_jwk(&pair)? });
    let mut target = occasion.endpoint.url().clone();
    target.set_query(None);
    target.set_fragment(None);
    let mut claims = json!({
        "jti": random::text().map_err(|_| NotSigned)?.expose_secret(),
        "htm": METHOD,
        "htu": target.as_str(),
        "iat": occasion.now.wall.as_second(),
    });
    if let Some(nonce) = occasion.nonce {
        claims["nonce"] = nonce.into();
    }
    Ok(SigningKey::Ec(pair).jwt(header, &claims)?)
}

fn pair(key: &ProofKey) -> Result<EcdsaKeyPair, NoProof> {
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose_pkcs8(), &random)
        .map_err(|_| NoProof::NoKey)
}

/// Returns the public half (RFC 7517, RFC 7518 §6.2.1).
fn public_jwk(pair: &EcdsaKeyPair) -> Result<Value, NoProof> {
    match pair.public_key().as_ref().split_first() {
        Some((&UNCOMPRESSED, point)) if point.len() == 2 * COORDINATE => {
            let [x, y] = [&point[..COORDINATE], &point[COORDINATE..]]
                .map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
            Ok(json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y }))
        }
        Some(_) | None => Err(NoProof::NoKey),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::LoopbackHttp;

    fn endpoint(url: &str) -> EndpointUrl {
        EndpointUrl::parse(url, LoopbackHttp::Refused).unwrap()
    }

    fn decoded(part: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    /// Returns header and claims of a proof whose signature the key in its own header verifies.
    fn verified(proof: &SecretString) -> (Value, Value) {
        let (signed, signature) = proof.expose_secret().rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
        let coordinate = |name: &str| decoded(header["jwk"][name].as_str().unwrap());
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &decoded(signature))
            .unwrap();
        (header, serde_json::from_slice(&decoded(claims)).unwrap())
    }

    #[test]
    fn a_proof_is_for_one_endpoint_and_shows_the_public_half_alone_9449_1() {
        let (key, now) = (fresh_key().unwrap(), Clock::system().now());
        for (url, target) in [
            ("https://i/token", "https://i/token"),
            ("https://i/token?tenant=1&x=%20", "https://i/token"),
            ("https://i", "https://i/"),
            ("https://I:443/a/../token", "https://i/token"),
            ("https://i:8443/token", "https://i:8443/token"),
        ] {
            for nonce in [None, Some("eyJ7S_zG.eyJH0-Z.HX4w-7v")] {
                let endpoint = endpoint(url);
                let proof = proof(&key, Occasion { endpoint: &endpoint, nonce, now }).unwrap();
                let (header, claims) = verified(&proof);
                let members: BTreeMap<String, Value> = serde_json::from_value(header.clone()).unwrap();
                assert_eq!(members.keys().collect::<Vec<_>>(), ["alg", "jwk", "typ"]);
                assert_eq!((&header["typ"], &header["alg"]), (&"dpop+jwt".into(), &"ES256".into()));
                let jwk: BTreeMap<String, String> = serde_json::from_value(header["jwk"].clone()).unwrap();
                assert_eq!(
                    jwk.keys().collect::<Vec<_>>(),
                    ["crv", "kty", "x", "y"],
                    "a private member is shown"
                );
                assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), ("EC", "P-256"));
                assert_eq!((&claims["htm"], &claims["htu"]), (&"POST".into(), &target.into()));
                assert_eq!(claims["iat"], now.wall.as_second());
                assert_eq!(claims.get("nonce").and_then(Value::as_str), nonce);
                assert_eq!(claims.as_object().unwrap().len(), if nonce.is_some() { 5 } else { 4 });
            }
        }
    }

    #[test]
    fn no_two_proofs_have_the_same_identifier_9449_1() {
        let (key, endpoint) = (fresh_key().unwrap(), endpoint("https://i/token"));
        let occasion = Occasion { endpoint: &endpoint, nonce: None, now: Clock::system().now() };
        let identifiers: BTreeSet<String> = (0..10_000)
            .map(|_| {
                let proof = proof(&key, occasion).unwrap();
                let claims = decoded(proof.expose_secret().split('.').nth(1).unwrap());
                let claims: Value = serde_json::from_slice(&claims).unwrap();
                let identifier = claims["jti"].as_str().unwrap().to_owned();
                // RFC 9449 §4.2 asks for 96 bits.
                assert!(decoded(&identifier).len() * 8 >= 96, "{identifier}");
                identifier
            })
            .collect();
        assert_eq!(identifiers.len(), 10_000);
    }

    /// A key that was made by another program, and its thumbprint by that program.
    const PKCS8: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZU9VhoDpso7Ulsx3iHUcWzxENiTdxiBwYQHhPzbyz7WhRANC\
        AAREo3UJZwJbVv2wQAwNWZAz33wQCQNoc3rdYhJ57TP7uqs1sceyf48fIp0eu8TWV8KO1P7V/7dEHSKY/No7Twmd";
    const THUMBPRINT: &str = "Ns48YlQG8FRESS-4Vx-P9QfK43i-ID-XQlXTyX5L67E";
    const X: &str = "RKN1CWcCW1b9sEAMDVmQM998EAkDaHN63WISee0z-7o";

    #[test]
    fn a_key_has_the_name_that_others_give_it_9449_1() {
        use base64::prelude::BASE64_STANDARD;
        let key = ProofKey::from_pkcs8(Zeroizing::new(BASE64_STANDARD.decode(PKCS8).unwrap()));
        assert_eq!(thumbprint(&key).unwrap(), THUMBPRINT);
        let endpoint = endpoint("https://i/token");
        let occasion = Occasion { endpoint: &endpoint, nonce: None, now: Clock::system().now() };
        let (header, _) = verified(&proof(&key, occasion).unwrap());
        assert_eq!(header["jwk"]["x"], X);
        assert_eq!(thumbprint(&fresh_key().unwrap()).unwrap().len(), 43);
    }

    #[test]
    fn what_is_no_key_is_told_without_repeating_it() {
        let fresh = fresh_key().unwrap();
        let cut = &fresh.expose_pkcs8()[..fresh.expose_pkcs8().len() - 1];
        for octets in [&b""[..], b"CANARY", cut] {
            let key = ProofKey::from_pkcs8(Zeroizing::new(octets.to_vec()));
            assert_eq!(thumbprint(&key), Err(NoProof::NoKey));
            let endpoint = endpoint("https://i/token");
            let occasion = Occasion { endpoint: &endpoint, nonce: None, now: Clock::system().now() };
            assert_eq!(proof(&key, occasion).unwrap_err(), NoProof::NoKey);
        }
        assert!(!format!("{fresh:?}").contains('4'), "{fresh:?}");
    }
}
