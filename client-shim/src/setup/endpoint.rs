//! The address of a Flyte endpoint, in the one form that keyfob writes.
//!
//! Clients take `dns:///host`, `https://host` and `host:443` for the same. The thing to get wrong: what is left after
//! the scheme goes into a configuration, so it must be a host and a port and nothing more.

use std::fmt;
use std::net::IpAddr;

use crate::setup::error::Error;

/// `dns:///host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    authority: String,
}

impl Endpoint {
    /// The name of an account for an endpoint that has no name to speak of.
    pub(crate) const GENERIC_NAME: &str = "flyte";

    /// Reads an endpoint as any client takes it.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let schemes = ["dns:///", "https://", "http://"];
        let authority = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let authority = authority.trim_end_matches('/');
        let is_allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if authority.is_empty() || !authority.chars().all(is_allowed) {
            return Err(Error::BadEndpoint);
        }
        Ok(Self { authority: authority.to_owned() })
    }

    /// Tells whether it is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Returns the name of an account for it: the first part of the host's name, where that says something.
    pub(crate) fn suggested_name(&self) -> &str {
        let host = self.host();
        let first = host.split('.').next().unwrap_or_default();
        let says_something = host != "localhost" && host.parse::<IpAddr>().is_err();
        let is_name = first.starts_with(|c: char| c.is_ascii_alphabetic())
            && first.len() <= keyfob_protocol::account::AccountName::MAX_LENGTH;
        if says_something && is_name { first } else { Self::GENERIC_NAME }
    }

    fn host(&self) -> &str {
        match self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns:///{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_endpoint_is_the_same_one() {
        for text in ["dns:///flyte.example.com", "https://flyte.example.com/", "flyte.example.com"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), "dns:///flyte.example.com");
        }
        for text in ["", "dns:///", "dns:///a b", "https://h/path", "https://u@h", "h\"x"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_is_named_after_the_host_where_that_says_something() {
        let cases = [
            ("dns:///acme.union.ai", "acme"),
            ("flyte.example.com:443", "flyte"),
            ("localhost:30080", "flyte"),
            ("127.0.0.1:30080", "flyte"),
            ("[::1]:30080", "flyte"),
            ("9lives.example.com", "flyte"),
        ];
        for (text, name) in cases {
            assert_eq!(Endpoint::parse(text).unwrap().suggested_name(), name, "{text}");
        }
    }
}
