//! The OAuth2 wire protocol: one request in, one typed answer out. It has no policy but `error`'s, no state but
//! `discovery`'s, and `now` is an argument.
//!
//! What an account's settings say about the other side is here as well: where the authorization server is
//! ([`Server`]) and who we are to it ([`Client`]).

pub(crate) mod answer;
pub(crate) mod authorization;
pub(crate) mod client_assertion;
pub(crate) mod client_auth;
pub(crate) mod connector;
pub(crate) mod device;
pub(crate) mod discovery;
pub(crate) mod dpop;
pub(crate) mod error;
pub mod http;
pub(crate) mod json;
pub(crate) mod jwt;
pub mod proxy;
pub(crate) mod request;
pub(crate) mod revocation;
pub(crate) mod token_endpoint;
pub mod transport;
pub(crate) mod unreachable;

mod form;
mod gate;
mod id_token;
mod issuer_clock;
pub(crate) mod metadata;
mod pkce;
mod random;
#[cfg(test)]
pub(crate) mod scripted_server;
pub(crate) mod signing_key;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;
use url::{Host, Url};

/// The URL of an endpoint: https, or http on loopback where the account allows that; no fragment, no user info
/// (RFC 6749 §3.1, §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// The longest URL of an endpoint: what is in use has a tenth of it, and a message about a longer one would say nothing.
const LONGEST_URL: usize = 2048;

/// Whether plain http to loopback is acceptable, for a local sandbox or a test issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopbackHttp {
    /// https only.
    Refused,
    /// http too, to loopback literals and `localhost`.
    Allowed,
}

/// Why a URL cannot be an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It does not parse.
    #[error("{0:?} is not a URL")]
    NotAUrl(String),
    /// It is longer than any endpoint's.
    #[error("a URL of {0} bytes is longer than {LONGEST_URL}")]
    TooLong(usize),
    /// It is not https.
    #[error("{0} must be https (http is for loopback only, with tls.allow_http_loopback = true)")]
    NotHttps(Url),
    /// It has a part that no endpoint may have.
    #[error("{url} must have no {part}")]
    HasPart {
        /// The URL.
        url: Url,
        /// The part.
        part: &'static str,
    },
}

impl EndpointUrl {
    /// Accepts the URL of an endpoint.
    ///
    /// # Errors
    /// Refuses what RFC 6749 forbids, and plain http as described at [`LoopbackHttp`].
    pub fn parse(text: &str, loopback: LoopbackHttp) -> Result<Self, InvalidEndpoint> {
        if text.len() > LONGEST_URL {
            return Err(InvalidEndpoint::TooLong(text.len()));
        }
        let not_a_url = || InvalidEndpoint::NotAUrl(text.to_owned());
        // A parser of URLs takes such characters out in silence.
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(not_a_url());
        }
        let url = Url::parse(text).map_err(|_| not_a_url())?;
        let acceptable = url.scheme() == "https"
            || (url.scheme() == "http" && loopback == LoopbackHttp::Allowed && is_loopback(&url));
        if !acceptable || url.host().is_none() {
            return Err(InvalidEndpoint::NotHttps(url));
        }
        if url.fragment().is_some() {
            return Err(InvalidEndpoint::HasPart { url, part: "fragment" });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidEndpoint::HasPart { url, part: "user name or password" });
        }
        Ok(Self(url))
    }

    /// Accepts any URL: for questions that carry no secret, to whom the account says itself how to reach.
    pub(crate) fn harmless(url: Url) -> Self {
        Self(url)
    }

    /// Returns the URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the host, with the port where it is an unusual one: how messages name the other side.
    pub fn host(&self) -> String {
        self.0.authority().to_owned()
    }

    /// Returns scheme, host and port (RFC 6454 §6.2): what a refresh token is bound to.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Where the authorization server is.
#[expect(clippy::large_enum_variant, reason = "there is one per account")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// At the endpoints of this issuer's metadata (RFC 8414, OpenID Connect Discovery).
    Discovered {
        /// The issuer identifier, letter for letter as configured: it is compared as a string (RFC 8414 §3.3).
        issuer: String,
        /// Whether its endpoints may be plain http on loopback.
        loopback: LoopbackHttp,
    },
    /// At these endpoints.
    Given(Endpoints),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovered { issuer, .. } => f.write_str(issuer),
            Self::Given(endpoints) => endpoints.token.fmt(f),
        }
    }
}

/// The endpoints of an authorization server that we use, and what it says of itself beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// RFC 6749 §3.2.
    pub token: EndpointUrl,
    /// RFC 6749 §3.1.
    pub authorization: Option<EndpointUrl>,
    /// RFC 8628 §3.1.
    pub device_authorization: Option<EndpointUrl>,
    /// RFC 7009 §2.
    pub revocation: Option<EndpointUrl>,
    /// The issuer identifier, letter for letter, where it is known.
    pub issuer: Option<String>,
    /// Whether every redirect must name the issuer.
    pub redirects: Redirects,
    /// Whether it takes the one proof of a code's owner that we give.
    pub s256: S256,
    /// Whether it takes proofs of possession.
    pub dpop: Dpop,
}

impl Endpoints {
    /// Returns an authorization server of which nothing but its token endpoint is known.
    pub fn at(token: EndpointUrl) -> Self {
        Self {
            token,
            authorization: None,
            device_authorization: None,
            revocation: None,
            issuer: None,
            redirects: Redirects::MayNameIssuer,
            s256: S256::Assumed,
            dpop: Dpop::Lacking,
        }
    }
}

/// What the redirects of an authorization server say about who sent them (RFC 9207 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// `authorization_response_iss_parameter_supported`: one without `iss` is not from there.
    NameIssuer,
    /// It says nothing about it. An `iss` that is there must be right all the same.
    MayNameIssuer,
}

/// Whether an authorization server takes the S256 challenge (RFC 8414 §2, `code_challenge_methods_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S256 {
    /// It says so, or says nothing.
    Assumed,
    /// It lists other methods alone.
    Lacking,
}

/// Whether an authorization server takes proofs of possession as we make them (RFC 9449 §5.1,
/// `dpop_signing_alg_values_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dpop {
    /// It says so.
    Supported,
    /// It does not say so.
    Lacking,
}

/// Whether an account wants its refresh token bound to a key (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DpopPolicy {
    /// Where the issuer can do it, and gives access tokens that tools can use all the same.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Always: without it there is no login.
    Require,
}

/// What the exchange of an authorization code sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeExchange {
    /// What RFC 6749 §4.1.3 and RFC 7636 §4.5 ask for.
    #[default]
    Plain,
    /// The parameters of the authorization request as well, for servers that look for them there.
    Repeating,
}

/// Parameters that an account adds to its requests, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraParameters {
    /// To authorization requests, also to those of devices.
    pub authorization: BTreeMap<String, String>,
    /// To requests for first tokens.
    pub token: BTreeMap<String, String>,
    /// To requests for new tokens by a refresh token.
    pub refresh: BTreeMap<String, String>,
}

/// Who we are to the authorization server.
#[derive(Clone, Debug)]
pub struct Client {
    /// RFC 6749 §2.2.
    pub id: ClientId,
    /// How we prove it.
    pub authentication: ClientAuthentication,
}

/// Which client an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientId {
    /// This one.
    Given(String),
    /// The one that the account's Flyte endpoint names.
    FromEndpoint,
}

/// How a client proves its identity (RFC 6749 §2.3, the names of OpenID Connect Core §9).
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// `none`: a public client.
    None,
    /// `client_secret_basic`.
    SecretBasic(ClientSecret),
    /// `client_secret_basic` with the identifier as it is, for servers that do not decode it.
    SecretBasicRawId(ClientSecret),
    /// `client_secret_post`.
    SecretPost(ClientSecret),
    /// `private_key_jwt` (RFC 7523).
    PrivateKeyJwt {
        /// Where the private key is read, in PKCS#8 PEM.
        key: ClientSecret,
        /// Its name at the issuer (`kid`).
        key_id: Option<String>,
    },
}

/// Where the client's secret, or its private key, is read, each time that it is needed: so that a new one takes effect
/// by itself.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// The contents of a file, without white space at its end.
    File(PathBuf),
    /// The value that an environment variable of the daemon had at its start.
    Value(SecretString),
    /// Nowhere: the daemon was started without the variable of this name. Started elsewhere it may have it.
    Unset(String),
    /// The output of a program, run without a shell.
    Command(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_http_on_loopback_where_allowed_6749_12() {
        use LoopbackHttp::{Allowed, Refused};
        for (text, loopback, accepted) in [
            ("https://login.example.com/token", Refused, true),
            ("https://login.example.com/token?tenant=1", Refused, true),
            ("http://127.0.0.1:8080/token", Refused, false),
            ("http://127.0.0.1:8080/token", Allowed, true),
            ("http://[::1]:8080/token", Allowed, true),
            ("http://localhost/token", Allowed, true),
            ("http://localhost.example.com/token", Allowed, false),
            ("http://login.example.com/token", Allowed, false),
            ("https://login.example.com/token#part", Refused, false),
            ("https://user:secret@login.example.com/token", Refused, false),
            ("file:///etc/passwd", Allowed, false),
            ("javascript:alert(1)", Allowed, false),
            ("/token", Allowed, false),
            ("https://login.example\n.com/token", Refused, false),
            (" https://login.example.com/token", Refused, false),
            ("https://login.example.com/\ttoken", Refused, false),
            (&format!("https://a/{}", "x".repeat(LONGEST_URL)), Refused, false),
        ] {
            assert_eq!(EndpointUrl::parse(text, loopback).is_ok(), accepted, "{text} {loopback:?}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        let endpoint = EndpointUrl::parse("https://login.example.com/a/b?c", LoopbackHttp::Refused).unwrap();
        assert_eq!(endpoint.origin(), "https://login.example.com");
    }
}
