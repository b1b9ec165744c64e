//! The body of a request to the issuer (`application/x-www-form-urlencoded`).
//!
//! Each parameter comes at most once and none is empty (RFC 6749 §3.2); `resource` alone may come more often (RFC 8707
//! §2). A form knows which of its values are secret, so that an issuer which quotes one back cannot put it into a
//! message.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use url::form_urlencoded;

use crate::secret::LockedText;
use crate::token::Target;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(Vec<(Cow<'static, str>, Value)>);

#[derive(Clone, Debug)]
enum Value {
    Plain(String),
    Secret(LockedText),
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
    pub(crate) fn with_secret(self, name: &'static str, value: &impl ExposeSecret<str>) -> Self {
        self.add(name, Value::Secret(value.expose_secret().into()))
    }

    /// Returns a form that asks for a target: its scope, its audience, and each of its resources.
    #[must_use]
    pub(crate) fn asking_for(self, target: &Target) -> Self {
        let Target { scope, audience, resources } = target;
        let mut form =
            self.with("scope", scope.to_string()).with("audience", audience.as_deref().unwrap_or_default());
        for resource in resources {
            form.0.push(("resource".into(), Value::Plain(resource.clone())));
        }
        form
    }

    /// Returns a form with the parameters that an account adds; what is there already stays as it is.
    #[must_use]
    pub(crate) fn with_extra(self, extra: &BTreeMap<String, String>) -> Self {
        let extra = extra.iter().map(|(name, value)| (name.clone().into(), Value::Plain(value.clone())));
        self.and(Self(extra.filter(|(_, value)| !value.expose().is_empty()).collect()))
    }

    /// Returns a form with those parameters of another whose names are not there already.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        let new: Vec<_> = other.0.into_iter().filter(|(name, _)| !self.has(name)).collect();
        self.0.extend(new);
        self
    }

    /// Tells whether a parameter is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    fn add(mut self, name: &'static str, value: Value) -> Self {
        self.0.retain(|(known, _)| known != name);
        if !value.expose().is_empty() {
            self.0.push((name.into(), value));
        }
        self
    }

    /// Returns the form as it is sent.
    pub(crate) fn encode(&self) -> String {
        // Of its greatest length at once: a text that grows leaves copies behind.
        let longest = self.0.iter().map(|(name, value)| 3 * (name.len() + value.expose().len()) + 2).sum();
        let mut text = form_urlencoded::Serializer::new(String::with_capacity(longest));
        for (name, value) in &self.0 {
            text.append_pair(name, value.expose());
        }
        text.finish()
    }

    /// Returns the secrets in it.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, value)| match value {
            Value::Plain(_) => None,
            Value::Secret(secret) => Some(secret.expose_secret()),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_parameter_comes_at_most_once_and_never_empty_6749_1() {
        let form = Form::default()
            .with("grant_type", "refresh_token")
            .with("audience", "")
            .with("scope", "old")
            .with_secret("client_secret", &SecretString::from(""))
            .with_secret("refresh_token", &LockedText::from("R+T/=&?"))
            .with("scope", "a b");
        assert_eq!(form.encode(), "grant_type=refresh_token&refresh_token=R%2BT%2F%3D%26%3F&scope=a+b");
    }

    #[test]
    fn a_resource_comes_as_often_as_there_are_resources_and_nothing_else_does_8707_1() {
        let target = Target {
            scope: crate::token::Scope::parse("all"),
            audience: Some("aud".to_owned()),
            resources: ["https://b", "https://a"].map(str::to_owned).into(),
        };
        let extra = BTreeMap::from([("scope", "more"), ("prompt", "consent"), ("void", "")]);
        let extra = extra.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let form = Form::default().with("client_id", "cli").asking_for(&target).with_extra(&extra);
        assert_eq!(
            form.encode(),
            "client_id=cli&scope=all&audience=aud&resource=https%3A%2F%2Fa&resource=https%3A%2F%2Fb&prompt=consent"
        );
        let repeated = Form::default().with("client_id", "first").and(form);
        assert!(repeated.encode().starts_with("client_id=first&scope=all&"), "{}", repeated.encode());
        assert_eq!(repeated.encode().matches("resource=").count(), 2);
    }

    #[test]
    fn the_debug_form_holds_no_secret() {
        let form = Form::default().with_secret("refresh_token", &SecretString::from("CANARY-RT"));
        assert!(!format!("{form:?}").contains("CANARY"));
    }
}
