//! Client assertions (RFC 7521 §4.2, RFC 7523 §2.2): a short-lived JWT, signed by the client's private key, in place of a
//! secret that would have to be sent.
//!
//! The thing to get wrong: an assertion is for one request. It has an identifier of its own, names the one issuer that it
//! is for, and dies within two minutes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::clock::Now;
use crate::oauth::random;
use crate::oauth::signing_key::{NotSigned, SigningKey};

/// `client_assertion_type` (RFC 7523 §2.2).
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good: for one request, and for clocks that differ by a minute.
const LIFE: Duration = Duration::from_secs(120);

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
        let mut header = json!({ "typ": "JWT" });
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
        self.key.jwt(header, &claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::signing_key::tests::{ec_pem, verified};

    #[test]
    fn an_assertion_is_short_lived_unique_and_for_one_issuer_7523_1() {
        let rsa = SecretString::from(include_str!("signing_key/fixtures/rsa.pem"));
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
}
