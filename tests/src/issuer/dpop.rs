//! Proofs of possession (RFC 9449), read by its letter.
//!
//! What is wrong with a proof goes into the ledger. What is not wrong but late, a nonce that was replaced, is refused with
//! a newer one and is nobody's fault.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::books::Books;
use super::form::Form;
use super::ledger::Proof;
use super::reply::Reply;
use super::settings::ClientAuthentication;

/// How old, in seconds, a proof may be, or how far ahead of the issuer's clock.
const WINDOW: i64 = 60;

/// What a fake issuer does about proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dpop {
    /// Whether it takes them, and says so in its metadata.
    pub advertised: bool,
    /// Whether it binds access tokens as well as refresh tokens.
    pub binds_access_tokens: bool,
    /// Whether it wants to see its nonce in them. It gives a new one with each success.
    pub demands_nonces: bool,
}

/// What a fake issuer remembers of proofs.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    identifiers: Vec<String>,
    nonce: Option<String>,
    /// The key of each login of a public client that came with a proof, by the family.
    bound: BTreeMap<usize, String>,
}

/// What a request proved.
pub(crate) enum Proven {
    /// Nothing: it has no proof.
    Nothing,
    /// That its sender has the key with this thumbprint.
    Key(String),
}

impl Proven {
    fn key(&self) -> Option<&String> {
        match self {
            Self::Nothing => None,
            Self::Key(thumbprint) => Some(thumbprint),
        }
    }
}

/// Reads the proof of a token request.
pub(crate) fn read(books: &mut Books, form: &Form, grant: &str) -> Result<Proven, Reply> {
    let [proof] = &form.proofs[..] else {
        if form.proofs.is_empty() {
            return Ok(Proven::Nothing);
        }
        return Err(refused(books, "more than one proof"));
    };
    // Who takes no proofs does not look at them (RFC 9449 §5).
    if !books.settings.dpop.advertised {
        return Ok(Proven::Nothing);
    }
    let target = format!("{}/token", books.url);
    let checked = checked(proof, &target, books.unix_time());
    let (thumbprint, claims) = checked.map_err(|violation| refused(books, violation))?;
    let identifier = claims["jti"].as_str().unwrap_or_default().to_owned();
    if books.proofs.identifiers.contains(&identifier) {
        return Err(refused(books, "a proof that came twice"));
    }
    books.proofs.identifiers.push(identifier);
    let nonce = claims.get("nonce").and_then(Value::as_str).map(str::to_owned);
    let proof = Proof { grant: grant.to_owned(), thumbprint: thumbprint.clone(), nonce: nonce.clone() };
    books.ledger.proofs.push(proof);
    if books.settings.dpop.demands_nonces && (nonce.is_none() || nonce != books.proofs.nonce) {
        let nonce = books.proofs.nonce.clone().unwrap_or_else(|| renewed(books));
        return Err(Reply::error(400, "use_dpop_nonce").with("dpop-nonce", &nonce));
    }
    Ok(Proven::Key(thumbprint))
}

/// Refuses a refresh token that is bound to another key than the one that was proved (RFC 9449 §5).
pub(crate) fn may_refresh(books: &Books, form: &Form, proven: &Proven) -> Result<(), Reply> {
    let presented = form.get("refresh_token").unwrap_or_default();
    let family = books.ledger.family_of(presented);
    match family.and_then(|family| books.proofs.bound.get(&family)) {
        Some(bound) if proven.key() != Some(bound) => Err(Reply::error(400, "invalid_grant")),
        Some(_) | None => Ok(()),
    }
}

/// Refuses an authorization code whose request named another key (RFC 9449 §10).
pub(crate) fn may_redeem(books: &mut Books, named: Option<&String>, proven: &Proven) -> Result<(), Reply> {
    if named.is_none() || named == proven.key() {
        return Ok(());
    }
    books.ledger.violations.push("DPoP: a code with another key than its dpop_jkt".to_owned());
    Err(Reply::error(400, "invalid_grant"))
}

/// Binds what a request is answered with to the key that it proved.
pub(crate) fn bind(books: &mut Books, form: &Form, proven: &Proven, families: usize, reply: Reply) -> Reply {
    if reply.status != 200 {
        return reply;
    }
    let reply = match proven.key() {
        Some(thumbprint) => {
            if books.ledger.families.len() > families && is_public(books, form) {
                books.proofs.bound.insert(families, thumbprint.clone());
            }
            if books.settings.dpop.binds_access_tokens { of_type_dpop(reply) } else { reply }
        }
        None => reply,
    };
    if books.settings.dpop.advertised && books.settings.dpop.demands_nonces {
        let nonce = renewed(books);
        return reply.with("dpop-nonce", &nonce);
    }
    reply
}

/// The refresh tokens of other clients are bound to the client itself.
fn is_public(books: &Books, form: &Form) -> bool {
    let mut clients = books.settings.clients.iter();
    clients.any(|client| {
        form.get("client_id") == Some(&client.id) && client.authentication == ClientAuthentication::None
    })
}

fn of_type_dpop(mut reply: Reply) -> Reply {
    let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["token_type"] = "DPoP".into();
    reply.body = body.to_string().into();
    reply
}

fn renewed(books: &mut Books) -> String {
    let nonce = books.mint("NONCE");
    books.proofs.nonce = Some(nonce.clone());
    nonce
}

fn refused(books: &mut Books, violation: &str) -> Reply {
    books.ledger.violations.push(format!("DPoP: {violation}"));
    Reply::error(400, "invalid_dpop_proof")
}

/// Checks all of RFC 9449 §4.3 that hangs on nothing else, and returns the key's thumbprint and the claims.
fn checked(proof: &str, target: &str, now: i64) -> Result<(String, Map<String, Value>), &'static str> {
    let parts: Vec<&str> = proof.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err("a proof that is no JWT") };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a proof that is no JWT");
    let object = |part: &str| {
        serde_json::from_slice::<Map<String, Value>>(&decoded(part)?).map_err(|_| "a proof that is no JWT")
    };
    let (header, claims_read) = (object(header)?, object(claims)?);
    let text = |object: &Map<String, Value>, name: &str| {
        object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if text(&header, "typ") != "dpop+jwt" || text(&header, "alg") != "ES256" {
        return Err("a proof of another type or algorithm");
    }
    let jwk = header.get("jwk").and_then(Value::as_object).ok_or("a proof without its key")?;
    if jwk.keys().any(|name| !["kty", "crv", "x", "y"].contains(&name.as_str())) {
        return Err("a key that is not the public half alone");
    }
    if text(jwk, "kty") != "EC" || text(jwk, "crv") != "P-256" {
        return Err("a key of another kind");
    }
    let point = [vec![4], decoded(&text(jwk, "x"))?, decoded(&text(jwk, "y"))?].concat();
    let signed = &proof[..proof.len() - signature.len() - 1];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decoded(signature)?)
        .map_err(|_| "a proof that another key signed")?;
    if text(&claims_read, "htm") != "POST" || text(&claims_read, "htu") != target {
        return Err("a proof for another request");
    }
    let issued = claims_read.get("iat").and_then(Value::as_i64).ok_or("a proof without a time")?;
    if (now - issued).abs() > WINDOW {
        return Err("a proof of another time");
    }
    if claims_read.contains_key("ath") {
        return Err("a proof for an access token");
    }
    // 96 bits at least, six in a character.
    if text(&claims_read, "jti").len() < 16 {
        return Err("a proof without an identifier");
    }
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text(jwk, "x"), text(jwk, "y"));
    Ok((URL_SAFE_NO_PAD.encode(Sha256::digest(jwk)), claims_read))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    /// Returns a proof with these members, and the coordinates of its key in place of `X` and `Y`.
    fn proof(header: &Value, claims: &Value) -> String {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let header =
            header.to_string().replace("\"X\"", &format!("{x:?}")).replace("\"Y\"", &format!("{y:?}"));
        let signed = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header() -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": "X", "y": "Y" } })
    }

    fn claims() -> Value {
        json!({ "jti": "0123456789abcdef", "htm": "POST", "htu": "https://i/token", "iat": 1000 })
    }

    #[test]
    fn a_proof_is_taken_by_the_letter_alone() {
        let read = |header: &Value, claims: &Value| checked(&proof(header, claims), "https://i/token", 1000);
        assert_eq!(read(&header(), &claims()).unwrap().0.len(), 43);
        for (path, value) in [
            ("typ", json!("JWT")),
            ("alg", json!("none")),
            ("jwk", json!({ "kty": "EC", "crv": "P-256", "x": "X", "y": "Y", "d": "CANARY" })),
            ("jwk", json!({ "kty": "EC", "crv": "P-256", "x": "Y", "y": "X" })),
            ("jwk", json!({ "kty": "RSA", "crv": "P-256", "x": "X", "y": "Y" })),
            ("jwk", Value::Null),
        ] {
            let mut wrong = header();
            wrong[path] = value;
            assert!(read(&wrong, &claims()).is_err(), "{wrong}");
        }
        for (path, value) in [
            ("htm", json!("GET")),
            ("htu", json!("https://i/token?tenant=1")),
            ("htu", json!("https://j/token")),
            ("iat", json!(939)),
            ("iat", json!(1061)),
            ("iat", json!("1000")),
            ("jti", json!("short")),
            ("ath", json!("x")),
        ] {
            let mut wrong = claims();
            wrong[path] = value;
            assert!(read(&header(), &wrong).is_err(), "{wrong}");
        }
        let good = proof(&header(), &claims());
        let other = proof(&header(), &claims());
        let (signed, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        for wrong in ["", "a.b", "a.b.c", signed, &format!("{signed}.{signature}")] {
            assert!(checked(wrong, "https://i/token", 1000).is_err(), "{wrong}");
        }
    }
}
