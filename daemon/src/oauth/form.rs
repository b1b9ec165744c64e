//! The body of a request to the issuer (`application/x-www-form-urlencoded`).
//!
//! Each parameter comes at most once and none is empty (RFC 6749 §3.2). A form knows which of its values are secret, so
//! that an issuer which quotes one back cannot put it into a message.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<(&'static str, Value)>);

#[derive(Clone, Debug)]
enum Value {
    Plain(String),
    Secret(SecretString),
}

impl Value {
    fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose_secret(),
        }
    }
}

impl Form {
    /// Returns a form with a parameter added; an empty value is the same as none.
    #[must_use]
    pub(crate) fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        self.add(name, Value::Plain(value.into()))
    }

    /// Returns a form with a secret parameter added; an empty value is the same as none.
    #[must_use]
    pub(crate) fn with_secret(self, name: &'static str, value: &SecretString) -> Self {
        self.add(name, Value::Secret(value.clone()))
    }

    fn add(mut self, name: &'static str, value: Value) -> Self {
        self.0.retain(|(known, _)| *known != name);
        if !value.expose().is_empty() {
            self.0.push((name, value));
        }
        self
    }

    /// Returns the form as it is sent.
    pub(crate) fn encode(&self) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.0 {
            text.append_pair(name, value.expose());
        }
        text.finish()
    }

    /// Returns the secrets in it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.0.iter().filter_map(|(_, value)| match value {
            Value::Plain(_) => None,
            Value::Secret(secret) => Some(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_comes_at_most_once_and_never_empty_6749_1() {
        let form = Form::default()
            .with("grant_type", "refresh_token")
            .with("audience", "")
            .with("scope", "old")
            .with_secret("client_secret", &"".into())
            .with_secret("refresh_token", &"R+T/=&?".into())
            .with("scope", "a b");
        assert_eq!(form.encode(), "grant_type=refresh_token&refresh_token=R%2BT%2F%3D%26%3F&scope=a+b");
    }

    #[test]
    fn the_debug_form_holds_no_secret() {
        let form = Form::default().with_secret("refresh_token", &"CANARY-RT".into());
        assert!(!format!("{form:?}").contains("CANARY"));
    }
}
