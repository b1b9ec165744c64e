//! Which client asks, and whether it proves it (RFC 6749 §2.3).
//!
//! In the `Authorization` header, identifier and secret are form-encoded *before* they are joined by a colon: a client
//! that forgets it works until the first secret with a colon, a plus or a percent sign.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::form::Form;
use super::reply::Reply;
use super::settings::{Client, ClientAuthentication};

/// Why a client is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It broke a rule of the RFC.
    Violation(String),
    /// It is not registered, or its proof is wrong.
    InvalidClient,
}

impl Refusal {
    /// Returns the answer that goes with it.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Violation(_) => Reply::error(400, "invalid_request"),
            Self::InvalidClient => Reply::error(401, "invalid_client").with("www-authenticate", "Basic"),
        }
    }
}

/// Finds the client that sent a form.
pub(crate) fn authenticate<'a>(clients: &'a [Client], form: &Form) -> Result<&'a Client, Refusal> {
    let (id, proof) = claim(form)?;
    clients
        .iter()
        .find(|client| client.id == id && client.authentication == proof)
        .ok_or(Refusal::InvalidClient)
}

/// Returns who the sender says it is, and its proof.
fn claim(form: &Form) -> Result<(String, ClientAuthentication), Refusal> {
    let violation = |text: &str| Err(Refusal::Violation(text.to_owned()));
    match (&form.authorization, form.get("client_id"), form.get("client_secret")) {
        (Some(_), _, Some(_)) => violation("a secret in the header and another in the body"),
        (Some(header), named, None) => {
            let (id, secret) = basic(header)?;
            match named {
                Some(other) if other != id => violation("one client in the header and another in the body"),
                Some(_) | None => Ok((id, ClientAuthentication::SecretBasic(secret))),
            }
        }
        (None, Some(id), Some(secret)) => {
            Ok((id.to_owned(), ClientAuthentication::SecretPost(secret.to_owned())))
        }
        (None, Some(id), None) => Ok((id.to_owned(), ClientAuthentication::None)),
        (None, None, _) => violation("no client_id"),
    }
}

/// Reads `Basic base64(form(id) ":" form(secret))`.
fn basic(header: &str) -> Result<(String, String), Refusal> {
    let read = || {
        let decoded = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((form_decoded(id)?, form_decoded(secret)?))
    };
    read().ok_or_else(|| Refusal::Violation("an Authorization header that is not RFC 6749 §2.3.1".to_owned()))
}

/// Decodes `application/x-www-form-urlencoded`, and takes nothing that should have been encoded.
fn form_decoded(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "*-._~+%".contains(c);
    if !text.chars().all(allowed) {
        return None;
    }
    let pair = format!("v={text}");
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_the_header_is_form_encoded_first() {
        let header = format!("Basic {}", STANDARD.encode("a%3Ab:p%2B%25+%C3%A4"));
        assert_eq!(basic(&header), Ok(("a:b".to_owned(), "p+% ä".to_owned())));
        for raw in ["cli:p:q", "cli:p q", "cli:ä", "cli"] {
            let header = format!("Basic {}", STANDARD.encode(raw));
            assert!(matches!(basic(&header), Err(Refusal::Violation(_))), "{raw} was taken");
        }
    }
}
