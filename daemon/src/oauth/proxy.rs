//! The proxy of an account: none, one, or those of the environment.
//!
//! A proxy's URL may hold a user name and a password. The thing to get wrong: what is shown, in a message, a log or a
//! `Debug`, is scheme, host and port alone.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The port of SOCKS (RFC 1928 §3).
const SOCKS_PORT: u16 = 1080;

/// What stands between an account and the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Nothing, whatever the environment says.
    #[default]
    None,
    /// This proxy, for all but plain http to loopback.
    Url(ProxyUrl),
    /// What the environment said when the daemon started.
    Environment(ProxyVariables),
}

/// The proxies of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// The one for https: `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https: Option<ProxyUrl>,
    /// The one for http: `HTTP_PROXY`, else `ALL_PROXY`.
    pub http: Option<ProxyUrl>,
    /// `NO_PROXY`: hosts, domains, addresses and networks, with commas between, or `*`.
    pub no: String,
}

/// The URL of a proxy.
#[derive(Clone)]
pub struct ProxyUrl {
    /// With the credentials in it.
    whole: SecretString,
    /// Without them.
    shown: String,
    has_credentials: bool,
    setting: &'static str,
}

/// Why a text is no proxy's URL. The text may be a secret, and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// It does not parse.
    #[error("must be the URL of a proxy, such as http://proxy:3128")]
    NotAUrl,
    /// It is no kind of proxy that we know.
    #[error("must begin with http://, https://, socks5:// or socks5h://")]
    Scheme,
    /// It has more than a proxy's URL has.
    #[error("must end with the proxy's host and port")]
    HasPath,
}

impl Proxy {
    /// Returns the proxy that stands before a URL.
    pub(crate) fn before(&self, url: &Url) -> Option<&ProxyUrl> {
        match self {
            Self::None => None,
            Self::Url(proxy) => Some(proxy),
            Self::Environment(variables) => variables.before(url),
        }
    }
}

impl ProxyVariables {
    fn before(&self, url: &Url) -> Option<&ProxyUrl> {
        let proxy = if url.scheme() == "http" { &self.http } else { &self.https };
        proxy.as_ref().filter(|_| !self.excepts(url))
    }

    fn excepts(&self, url: &Url) -> bool {
        // Which proxy is asked about does not matter; whether there is one does.
        let matcher = Matcher::builder().all("http://proxy").no(self.no.as_str()).build();
        let target = url.host_str().and_then(|host| format!("https://{host}/").parse::<Uri>().ok());
        target.is_some_and(|target| matcher.intercept(&target).is_none())
    }
}

impl ProxyUrl {
    /// Accepts the URL of a proxy. `setting` is what a person changes to have another one.
    ///
    /// # Errors
    /// Refuses what has another scheme than `http`, `https`, `socks5` and `socks5h`, or more than a host and a port.
    pub fn parse(text: &str, setting: &'static str) -> Result<Self, InvalidProxy> {
        let mut url = Url::parse(text).map_err(|_| InvalidProxy::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            return Err(InvalidProxy::Scheme);
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidProxy::HasPath);
        }
        if url.port().is_none() && url.scheme().starts_with("socks") {
            url.set_port(Some(SOCKS_PORT)).map_err(|()| InvalidProxy::NotAUrl)?;
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidProxy::NotAUrl)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let proxy = Self {
            shown: format!("{}://{host}{port}", url.scheme()),
            has_credentials: !url.username().is_empty() || url.password().is_some(),
            whole: url.as_str().into(),
            setting,
        };
        proxy.intercept().map(|_| proxy).ok_or(InvalidProxy::NotAUrl)
    }

    /// Returns the URL with its credentials.
    pub(crate) fn whole(&self) -> &SecretString {
        &self.whole
    }

    /// Tells whether it has credentials.
    pub(crate) fn has_credentials(&self) -> bool {
        self.has_credentials
    }

    /// Returns what a person changes to have another one.
    pub(crate) fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns its address and credentials in the form that hyper's connectors take.
    pub(crate) fn intercept(&self) -> Option<Intercept> {
        let any = Uri::from_static("https://any/");
        Matcher::builder().all(self.whole.expose_secret()).build().intercept(&any)
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyUrl").field(&self.shown).finish()
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        self.whole.expose_secret() == other.whole.expose_secret()
    }
}

impl Eq for ProxyUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> ProxyUrl {
        ProxyUrl::parse(text, "http_proxy").unwrap()
    }

    fn before(proxy: &Proxy, url: &str) -> Option<String> {
        proxy.before(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn a_proxy_is_shown_without_its_credentials() {
        let proxy = proxy("http://CANARY-user:CANARY-password@proxy:3128");
        assert_eq!(proxy.to_string(), "http://proxy:3128");
        let wrapped = Proxy::Url(proxy.clone());
        for text in [format!("{proxy:?}"), format!("{wrapped:?}"), format!("{:?}", proxy.intercept())] {
            assert!(!text.contains("CANARY"), "{text}");
        }
        assert!(proxy.has_credentials());
    }

    #[test]
    fn other_credentials_make_another_proxy() {
        assert_ne!(proxy("http://a:b@proxy:1"), proxy("http://a:c@proxy:1"));
        assert_eq!(proxy("http://a:b@proxy:1"), proxy("http://a:b@proxy:1/"));
    }

    #[test]
    fn a_proxy_is_a_scheme_a_host_and_a_port() {
        for (text, expected) in [
            ("http://proxy:3128", Ok("http://proxy:3128")),
            ("https://proxy.example.com/", Ok("https://proxy.example.com")),
            ("socks5://10.0.0.1", Ok("socks5://10.0.0.1:1080")),
            ("socks5h://[::1]:9050", Ok("socks5h://[::1]:9050")),
            ("proxy:3128", Err(InvalidProxy::Scheme)),
            ("ftp://proxy", Err(InvalidProxy::Scheme)),
            ("socks4://proxy", Err(InvalidProxy::Scheme)),
            ("proxy", Err(InvalidProxy::NotAUrl)),
            ("socks5://", Err(InvalidProxy::NotAUrl)),
            ("http://proxy/path", Err(InvalidProxy::HasPath)),
            ("http://proxy?x", Err(InvalidProxy::HasPath)),
        ] {
            let parsed = ProxyUrl::parse(text, "http_proxy").map(|proxy| proxy.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme_and_hosts_without_one() {
        let variables = ProxyVariables {
            https: Some(proxy("http://secure:1")),
            http: Some(proxy("http://plain:2")),
            no: "internal.example.com, 10.0.0.0/8,localhost".to_owned(),
        };
        let environment = Proxy::Environment(variables);
        for (url, expected) in [
            ("https://login.example.com/token", Some("http://secure:1")),
            ("http://login.example.com/token", Some("http://plain:2")),
            ("https://internal.example.com/", None),
            ("https://a.internal.example.com/", None),
            ("https://notinternal.example.com/", Some("http://secure:1")),
            ("https://10.1.2.3:8443/", None),
            ("https://11.1.2.3/", Some("http://secure:1")),
            ("https://localhost:1/", None),
        ] {
            assert_eq!(before(&environment, url).as_deref(), expected, "{url}");
        }
    }
}
