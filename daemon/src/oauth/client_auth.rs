//! Client authentication (RFC 6749 §2.3): the client proves its identity in the header, or in the body, never in both.
//!
//! The secret is in hand here; where it comes from is the grant's affair.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::clock::Now;
use crate::oauth::client_assertion::{self, Assertor};
use crate::oauth::form::Form;
use crate::oauth::signing_key::NotSigned;

/// A client, ready to prove its identity.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// RFC 6749 §2.2.
    pub(crate) client_id: String,
    /// The proof.
    pub(crate) proof: Proof,
}

/// How, and with what.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// None: a public client.
    None,
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_basic` with the identifier as it is.
    BasicRawId(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// `private_key_jwt`.
    Assertion(Assertor),
}

impl Credentials {
    /// Adds the client to a request; the second value is for the `Authorization` header.
    pub(crate) fn apply(&self, form: Form, now: Now) -> Result<(Form, Option<SecretString>), NotSigned> {
        Ok(match &self.proof {
            Proof::None => (form.with("client_id", &self.client_id), None),
            Proof::Post(secret) => {
                (form.with("client_id", &self.client_id).with_secret("client_secret", secret), None)
            }
            Proof::Assertion(assertor) => {
                let assertion = assertor.assertion(&self.client_id, now)?;
                let form = form.with("client_id", &self.client_id);
                let form = form.with("client_assertion_type", client_assertion::TYPE);
                (form.with_secret("client_assertion", &assertion), None)
            }
            Proof::Basic(secret) => {
                (form, Some(basic(&encoded(&self.client_id), &encoded(secret.expose_secret()))))
            }
            Proof::BasicRawId(secret) => {
                (form, Some(basic(&self.client_id, &encoded(secret.expose_secret()).replace('*', "%2A"))))
            }
        })
    }

    /// Returns the secret, if there is one.
    pub(crate) fn secret(&self) -> Option<&SecretString> {
        match &self.proof {
            Proof::None | Proof::Assertion(_) => None,
            Proof::Basic(secret) | Proof::BasicRawId(secret) | Proof::Post(secret) => Some(secret),
        }
    }
}

/// Returns the header's value, of an identifier and a secret that are encoded.
fn basic(id: &str, secret: &str) -> SecretString {
    let pair = Zeroizing::new(format!("{id}:{secret}"));
    format!("Basic {}", *Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()))).into()
}

/// Returns a text form-encoded (RFC 6749 §2.3.1), so that a colon in an identifier and every character outside ASCII
/// survive.
fn encoded(text: &str) -> Zeroizing<String> {
    let encoded = Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    // Either form decodes to the same. Secrets often have a tilde, and some issuers do not decode at all.
    Zeroizing::new(encoded.replace("%7E", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::signing_key::SigningKey;
    use crate::oauth::signing_key::tests::ec_pem;

    fn applied(proof: Proof) -> (String, Option<String>) {
        let credentials = Credentials { client_id: "my id".to_owned(), proof };
        let (form, header) = credentials
            .apply(Form::default().with("grant_type", "client_credentials"), Clock::system().now())
            .unwrap();
        (form.encode(), header.map(|header| header.expose_secret().to_owned()))
    }

    #[test]
    fn a_public_client_only_names_itself() {
        assert_eq!(applied(Proof::None), ("grant_type=client_credentials&client_id=my+id".to_owned(), None));
    }

    #[test]
    fn a_secret_goes_into_the_header_or_into_the_body_never_into_both_6749_11() {
        let (body, header) = applied(Proof::Basic("s3c/ret".into()));
        assert_eq!(body, "grant_type=client_credentials");
        assert_eq!(header.as_deref(), Some("Basic bXkraWQ6czNjJTJGcmV0"));
        let (body, header) = applied(Proof::Post("s3c/ret".into()));
        assert_eq!(body, "grant_type=client_credentials&client_id=my+id&client_secret=s3c%2Fret");
        assert_eq!(header, None);
    }

    #[test]
    fn an_assertion_takes_the_place_of_a_secret_and_is_never_the_same_7523_1() {
        let key = SigningKey::read(&ec_pem()).unwrap();
        let proof = Assertor { key: key.into(), key_id: None, audience: "https://i".to_owned() };
        let [(body, header), (other, _)] = [(); 2].map(|()| applied(Proof::Assertion(proof.clone())));
        let known = "grant_type=client_credentials&client_id=my+id&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A\
                     client-assertion-type%3Ajwt-bearer&client_assertion=ey";
        assert!(body.starts_with(known), "{body}");
        assert_eq!(header, None);
        assert_ne!(body, other);
    }

    #[test]
    fn the_header_with_a_raw_id_is_the_one_that_flytekit_sends() {
        let (body, header) = applied(Proof::BasicRawId("s3c/ret+ ~é:x".into()));
        assert_eq!(body, "grant_type=client_credentials");
        assert_eq!(header.as_deref(), Some("Basic bXkgaWQ6czNjJTJGcmV0JTJCK34lQzMlQTklM0F4"));
        let (_, header) = applied(Proof::BasicRawId("*".into()));
        assert_eq!(header.as_deref(), Some("Basic bXkgaWQ6JTJB"));
    }

    #[test]
    fn the_header_survives_awkward_ids_and_secrets_6749_11() {
        for (id, secret, pair) in [
            ("my id", "s3c/ret+ ~é:x", "my+id:s3c%2Fret%2B+~%C3%A9%3Ax"),
            ("a:b", "100%+", "a%3Ab:100%25%2B"),
            ("client", "x~y~z", "client:x~y~z"),
            ("client", "%7E", "client:%257E"),
            ("client", "ключ&=", "client:%D0%BA%D0%BB%D1%8E%D1%87%26%3D"),
            ("0oa1b2-c_3.d", "Ab0-_.*", "0oa1b2-c_3.d:Ab0-_.*"),
        ] {
            let header = basic(&encoded(id), &encoded(secret));
            let decoded =
                BASE64_STANDARD.decode(header.expose_secret().strip_prefix("Basic ").unwrap()).unwrap();
            assert_eq!(String::from_utf8(decoded).unwrap(), pair);
        }
    }
}
