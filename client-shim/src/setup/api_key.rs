//! The API keys of Union: an endpoint, a client and its secret in one text of base64.
//!
//! The thing to get wrong: the whole text is a secret, so nothing of it is ever repeated.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::SecretString;

use crate::setup::section::{Section, Value};

/// The variables in which clients look for one.
pub(crate) const VARIABLES: [&str; 6] = [
    "FLYTE_API_KEY",
    "UNION_API_KEY",
    "UNION_SERVERLESS_API_KEY",
    "UNIONAI_SERVERLESS_API_KEY",
    "_UNION_EAGER_API_KEY",
    "EAGER_API_KEY",
];

/// Reads `endpoint:client_id:client_secret:org`; the organisation may be missing, the endpoint may have a port.
pub(crate) fn read(key: &str) -> Option<Section> {
    let text = String::from_utf8(decode(key.trim())?).ok()?;
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text.as_str()),
    };
    let mut parts: Vec<&str> = rest.split(':').collect();
    let has_port =
        parts.len() > 4 && parts[1].bytes().all(|byte| byte.is_ascii_digit()) && !parts[1].is_empty();
    let host = parts.remove(0);
    let endpoint =
        if has_port { format!("{scheme}{host}:{}", parts.remove(0)) } else { format!("{scheme}{host}") };
    let [client_id, secret, ref organisation @ ..] = parts[..] else { return None };
    if host.is_empty() || client_id.is_empty() || secret.is_empty() {
        return None;
    }
    let mut section = Section::default();
    section.secret = Some(SecretString::from(secret));
    // Python writes None for one that is missing.
    let organisation = organisation.first().filter(|name| !name.is_empty() && **name != "None");
    section.organisation = organisation.map(|name| (*name).to_owned());
    for (name, value) in
        [("endpoint", endpoint.as_str()), ("clientId", client_id), ("authType", "ClientSecret")]
    {
        section.set(name, Value::Text(value.to_owned()));
    }
    Some(section)
}

/// Decodes base64, of either alphabet, with or without padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(digits).or_else(|_| URL_SAFE_NO_PAD.decode(digits)).ok()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_an_endpoint_a_client_and_its_secret() {
        // acme.union.ai:ci-client:s3cret:acme
        let section = read("YWNtZS51bmlvbi5haTpjaS1jbGllbnQ6czNjcmV0OmFjbWU=\n").unwrap();
        assert_eq!(section.text("endpoint"), Some("acme.union.ai"));
        assert_eq!(section.text("clientId"), Some("ci-client"));
        assert_eq!(section.organisation.as_deref(), Some("acme"));
        assert_eq!(section.secret.unwrap().expose_secret(), "s3cret");
        // dns:///h:8080:ci:s3cret:None
        let section = read("ZG5zOi8vL2g6ODA4MDpjaTpzM2NyZXQ6Tm9uZQ").unwrap();
        assert_eq!(
            (section.text("endpoint"), section.organisation.as_deref()),
            (Some("dns:///h:8080"), None)
        );
    }

    #[test]
    fn anything_else_is_no_key() {
        // "a:b", "not base64!", "a::c:d", bytes that are no text.
        for text in ["", "YTpi", "not base64!", "YTo6Yzpk", "//79"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
