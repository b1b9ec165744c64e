//! Where the issuer sends the browser back to: a loopback address in one of the three forms of RFC 8252 §7.3.
//!
//! The thing to get wrong: issuers compare redirect URIs letter by letter (RFC 9700 §4.1.3), so this one is kept as it
//! was registered, not as a URL library would write it: `http://localhost:4444` has no slash at its end.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// A loopback redirect URI, as an account has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    pub(super) host: Host,
    /// None: the system chooses one for each login.
    pub(super) port: Option<u16>,
    path: String,
}

/// The ways to write this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// `127.0.0.1`, or `[::1]` where the machine has no IPv4 loopback: nobody asked for either.
    Either,
    /// `127.0.0.1`
    Ipv4,
    /// `[::1]`
    Ipv6,
    /// `localhost`, which is both.
    Localhost,
}

/// Why a text is no loopback redirect URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedirectUri {
    /// The browser would go elsewhere.
    #[error(
        "it must begin with http://127.0.0.1, http://[::1] or http://localhost: the browser comes back to this machine"
    )]
    Elsewhere,
    /// The port is none.
    #[error("its port must be a number from 1 to 65535, or left out")]
    Port,
    /// The path has something that a browser would write otherwise, or something beside it.
    #[error("behind the host it has a port and a plain path at most, no query and no fragment")]
    Path,
}

impl RedirectUri {
    /// Returns the path as it was written: with its slash, or empty.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the text with a host and a port put in.
    pub(super) fn at(&self, host: Host, port: u16) -> String {
        format!("http://{host}:{port}{}", self.path)
    }
}

impl Default for RedirectUri {
    fn default() -> Self {
        Self { host: Host::Either, port: None, path: "/callback".to_owned() }
    }
}

impl FromStr for RedirectUri {
    type Err = InvalidRedirectUri;

    fn from_str(text: &str) -> Result<Self, InvalidRedirectUri> {
        let rest = text.strip_prefix("http://").ok_or(InvalidRedirectUri::Elsewhere)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = [Host::Ipv4, Host::Ipv6, Host::Localhost]
            .into_iter()
            .find_map(|host| Some((host, authority.strip_prefix(host.text())?)))
            .ok_or(InvalidRedirectUri::Elsewhere)?;
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(read_port(digits).ok_or(InvalidRedirectUri::Port)?),
            None if port.is_empty() => None,
            // Such as localhost.example.com.
            None => return Err(InvalidRedirectUri::Elsewhere),
        };
        let written = Url::parse(text).map_err(|_| InvalidRedirectUri::Path)?;
        let is_plain = written.path() == path || (path.is_empty() && written.path() == "/");
        if !is_plain || written.query().is_some() || written.fragment().is_some() {
            return Err(InvalidRedirectUri::Path);
        }
        Ok(Self { host, port, path: path.to_owned() })
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

impl Host {
    fn text(self) -> &'static str {
        match self {
            Self::Either | Self::Ipv4 => "127.0.0.1",
            Self::Ipv6 => "[::1]",
            Self::Localhost => "localhost",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

fn read_port(digits: &str) -> Option<u16> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|port| is_number && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_is_a_loopback_address_kept_letter_by_letter_8252_2() {
        for text in [
            "http://127.0.0.1/callback",
            "http://127.0.0.1:8400/callback",
            "http://[::1]:1/a/b",
            "http://localhost:53593/callback",
            "http://localhost:4444",
            "http://localhost/",
            "http://localhost",
            "http://localhost:80/callback",
        ] {
            assert_eq!(text.parse::<RedirectUri>().map(|uri| uri.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(RedirectUri::default().to_string(), "http://127.0.0.1/callback");
    }

    #[test]
    fn no_browser_is_sent_elsewhere_8252_2() {
        use InvalidRedirectUri::{Elsewhere, Path, Port};
        let cases = [
            ("https://127.0.0.1/callback", Elsewhere),
            ("http://127.0.0.2/callback", Elsewhere),
            ("http://0.0.0.0/callback", Elsewhere),
            ("http://[::]/callback", Elsewhere),
            ("http://192.168.1.1/callback", Elsewhere),
            ("http://localhost.example.com/callback", Elsewhere),
            ("http://127.0.0.1.example.com/callback", Elsewhere),
            ("http://localhost@example.com/callback", Elsewhere),
            ("http://user@localhost/callback", Elsewhere),
            ("HTTP://localhost/callback", Elsewhere),
            ("com.example.app:/callback", Elsewhere),
            ("", Elsewhere),
            ("http://localhost:0/callback", Port),
            ("http://localhost:65536/callback", Port),
            ("http://localhost:/callback", Port),
            ("http://localhost:+1/callback", Port),
            ("http://localhost:80@example.com/callback", Port),
            ("http://localhost/callback?a=b", Path),
            ("http://localhost/callback#a", Path),
            ("http://localhost?a=b", Path),
            ("http://localhost/a/../b", Path),
            ("http://localhost/a b", Path),
            ("http://localhost/ä", Path),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<RedirectUri>(), Err(reason), "{text}");
        }
    }
}
