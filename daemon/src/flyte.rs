//! A Flyte or Union endpoint, which says by itself how one logs in there: where its issuer is, which client to be, what
//! to ask for, and in which header it wants its token; and what Flyte's clients keep on this machine.
//!
//! The thing to get wrong: what it says is not secret, but decides where secrets go. So the way there is as well
//! protected as any other, and every endpoint that it names must be https, wherever it is.

pub(crate) mod auth_metadata;
pub mod discovery;
pub mod keyring;
pub(crate) mod message;

mod ask;
mod connect;
mod file;
mod gateway;
mod grpc;
mod protobuf_json;
#[cfg(test)]
pub(crate) mod scripted_grpc;

use std::fmt;

use url::Url;

/// A Flyte endpoint: scheme, host and port. Every spelling that the clients take comes to one and the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https` or `http`, host and port, and no path.
    url: Url,
}

/// Whether a Flyte endpoint may be spoken to without TLS: the clients' `insecure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// With TLS only.
    Refused,
    /// Without TLS.
    Wanted,
}

/// Why a text is no Flyte endpoint. The text is left out: it may have a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It has no host, or is no URL.
    #[error("must be the address of a Flyte endpoint, such as dns:///flyte.example.com")]
    NotAnAddress,
    /// It asks for plain text.
    #[error("must not begin with http:// unless insecure = true")]
    NotHttps,
    /// It asks for TLS, and its account for plain text.
    #[error("must not begin with https:// where insecure = true")]
    NotPlaintext,
    /// It has more than a host and a port.
    #[error("must end with the host, or with its port")]
    HasMore,
}

impl Endpoint {
    /// Accepts `dns:///host`, `dns://host`, `https://host`, `host`, each with a port or without, and with
    /// [`Plaintext::Wanted`] `http://host` in place of `https://host`.
    ///
    /// # Errors
    /// Refuses user info, paths and queries, and a scheme that contradicts `plaintext`.
    pub fn parse(text: &str, plaintext: Plaintext) -> Result<Self, InvalidEndpoint> {
        let scheme = match plaintext {
            Plaintext::Refused => "https",
            Plaintext::Wanted => "http",
        };
        let rest = match text.split_once("://") {
            None => text,
            // gRPC's own: the part between the second and the third slash would be a name server.
            Some(("dns", rest)) => rest.strip_prefix('/').unwrap_or(rest),
            Some((given, rest)) if given == scheme => rest,
            Some(("http", _)) => return Err(InvalidEndpoint::NotHttps),
            Some(("https", _)) => return Err(InvalidEndpoint::NotPlaintext),
            Some(_) => return Err(InvalidEndpoint::NotAnAddress),
        };
        // A parser of URLs takes such characters out in silence, and another slash for a part of the scheme.
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if rest.contains(is_odd) || rest.starts_with('/') {
            return Err(InvalidEndpoint::NotAnAddress);
        }
        let parsed = Url::parse(&format!("{scheme}://{rest}"));
        let url = parsed.ok().filter(Url::has_host).ok_or(InvalidEndpoint::NotAnAddress)?;
        let has_user = !url.username().is_empty() || url.password().is_some() || rest.contains('@');
        if has_user || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidEndpoint::HasMore);
        }
        Ok(Self { url })
    }

    /// Returns the URL of a path at this endpoint. It may be plain http.
    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }

    /// Returns the host, with the port where it is an unusual one.
    pub fn host(&self) -> &str {
        self.url.authority()
    }

    /// Tells whether it is spoken to without TLS.
    pub fn plaintext(&self) -> Plaintext {
        if self.url.scheme() == "https" { Plaintext::Refused } else { Plaintext::Wanted }
    }
}

/// As the clients write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns:///{}", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_clients_is_the_same_endpoint() {
        for (spelling, expected) in [
            ("dns:///flyte.example.com", "dns:///flyte.example.com"),
            ("dns://flyte.example.com", "dns:///flyte.example.com"),
            ("flyte.example.com", "dns:///flyte.example.com"),
            ("https://flyte.example.com", "dns:///flyte.example.com"),
            ("https://FLYTE.example.com:443/", "dns:///flyte.example.com"),
            ("dns:///flyte.example.com:8443", "dns:///flyte.example.com:8443"),
            ("flyte.example.com:8443", "dns:///flyte.example.com:8443"),
            ("localhost:30080", "dns:///localhost:30080"),
            ("dns:///[::1]:30080", "dns:///[::1]:30080"),
        ] {
            let endpoint = Endpoint::parse(spelling, Plaintext::Refused).unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.plaintext()), (expected, Plaintext::Refused));
        }
        for spelling in ["dns:///flyte:81", "flyte:81", "http://flyte:81"] {
            let endpoint = Endpoint::parse(spelling, Plaintext::Wanted).unwrap();
            assert_eq!(endpoint.at("/x").as_str(), "http://flyte:81/x");
            assert_eq!(endpoint.plaintext(), Plaintext::Wanted);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        use InvalidEndpoint::{HasMore, NotAnAddress, NotHttps, NotPlaintext};
        for (text, plaintext, expected) in [
            ("", Plaintext::Refused, NotAnAddress),
            ("dns:///", Plaintext::Refused, NotAnAddress),
            ("dns:////flyte", Plaintext::Refused, NotAnAddress),
            ("ftp://flyte", Plaintext::Refused, NotAnAddress),
            ("fly te", Plaintext::Refused, NotAnAddress),
            ("flyte\\x", Plaintext::Refused, NotAnAddress),
            ("flyte:port", Plaintext::Refused, NotAnAddress),
            ("http://flyte", Plaintext::Refused, NotHttps),
            ("https://flyte", Plaintext::Wanted, NotPlaintext),
            ("https://flyte/console", Plaintext::Refused, HasMore),
            ("ann:CANARY@flyte", Plaintext::Refused, HasMore),
            ("@flyte", Plaintext::Refused, HasMore),
            ("flyte?x", Plaintext::Refused, HasMore),
            ("flyte#x", Plaintext::Refused, HasMore),
        ] {
            let refused = Endpoint::parse(text, plaintext).unwrap_err();
            assert_eq!(refused, expected, "{text}");
            assert!(!refused.to_string().contains("CANARY"));
        }
    }
}
