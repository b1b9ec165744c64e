//! Clients that prove who they are by a signed assertion (RFC 7523 §3), read by its letter.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use super::client_auth::Refusal;
use super::form::Form;
use super::settings::{Client, ClientAuthentication};

/// `client_assertion_type` (RFC 7523 §2.2).
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest life in seconds of an assertion that is for one request.
const LONGEST_LIFE: i64 = 300;

/// Finds the client that signed an assertion for `audience` that is good at `now`, and returns the assertion's
/// identifier beside it.
pub(crate) fn authenticate(
    clients: &[Client],
    form: &Form,
    audience: &str,
    now: i64,
) -> Result<(Client, String), Refusal> {
    let violation = |text: &str| Refusal::Violation(text.to_owned());
    if form.authorization.is_some() || form.get("client_secret").is_some() {
        return Err(violation("an assertion beside a secret"));
    }
    if form.get("client_assertion_type") != Some(TYPE) {
        return Err(violation("an assertion of another type"));
    }
    let assertion = form.get("client_assertion").unwrap_or_default();
    let (signed, signature) =
        assertion.rsplit_once('.').ok_or_else(|| violation("an assertion that is no JWT"))?;
    let decoded =
        |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| violation("an assertion that is no JWT"));
    let claims = signed.split_once('.').map(|(_, claims)| claims).unwrap_or_default();
    let claims: Value =
        serde_json::from_slice(&decoded(claims)?).map_err(|_| violation("claims that are no JSON"))?;
    let id = form.get("client_id").or(claims["iss"].as_str()).unwrap_or_default();
    let client = clients.iter().find(|client| client.id == id).ok_or(Refusal::InvalidClient)?;
    let ClientAuthentication::PrivateKeyJwt(public_key) = &client.authentication else {
        return Err(Refusal::InvalidClient);
    };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
        .verify(signed.as_bytes(), &decoded(signature)?)
        .map_err(|_| Refusal::InvalidClient)?;
    if claims["iss"] != id || claims["sub"] != id || claims["aud"] != audience {
        return Err(violation("an assertion by or for somebody else"));
    }
    let exp = claims["exp"].as_i64().unwrap_or_default();
    if exp <= now || exp > now + LONGEST_LIFE {
        return Err(violation("an assertion that lives too long or no more"));
    }
    let identifier = claims["jti"].as_str().filter(|jti| jti.len() >= 16);
    let identifier = identifier.ok_or_else(|| violation("an assertion without an identifier"))?;
    Ok((client.clone(), identifier.to_owned()))
}
