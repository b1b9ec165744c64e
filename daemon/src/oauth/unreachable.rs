//! Why there was no connection, in words that name the remedy.
//!
//! What is behind an error is found by its type, whoever wrapped it: reqwest, hyper or tonic. Their texts are repeated
//! where there is no type, and decide nothing. The thing to get wrong: an `io::Error` hides the error that it holds from
//! `source`. And a sentence must be short: what is beyond the shim's limit is cut off, and that is the remedy.

use std::error::Error;
use std::io;
use std::iter::successors;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use tower_service::Service;

use crate::oauth::proxy::ProxyUrl;

/// What goes wrong with a CONNECT. hyper-util lets nobody name it otherwise.
type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;

/// What goes wrong with SOCKS.
type SocksError = <SocksV5<HttpConnector> as Service<Uri>>::Error;

/// The most names of a certificate that a message repeats.
const MOST_NAMES: usize = 4;

type Cause<'e> = &'e (dyn Error + 'static);

/// Says why there was no connection through this proxy, or without one.
pub(crate) fn reason(error: Cause<'_>, proxy: Option<&ProxyUrl>) -> String {
    match proxy {
        Some(proxy) => through(error, proxy),
        None => direct(error),
    }
}

/// Says that nothing answered in time.
pub(crate) fn silence(limit: std::time::Duration, proxy: Option<&ProxyUrl>) -> String {
    match proxy {
        Some(proxy) => {
            format!("no connection within {limit:?} through the proxy {proxy}: check {}", proxy.setting())
        }
        None => format!("no connection within {limit:?}"),
    }
}

fn direct(error: Cause<'_>) -> String {
    found::<rustls::Error>(error).map_or_else(|| innermost(error), tls)
}

fn through(error: Cause<'_>, proxy: &ProxyUrl) -> String {
    let setting = proxy.setting();
    if let Some(error) = found::<TunnelError>(error) {
        return match error {
            TunnelError::ConnectFailed(cause) => unreached(&**cause, proxy),
            TunnelError::ProxyAuthRequired if proxy.has_credentials() => {
                format!("the proxy {proxy} does not accept the user name and password in {setting}")
            }
            TunnelError::ProxyAuthRequired => {
                format!(
                    "the proxy {proxy} wants a user name and a password: write USER:PASSWORD@ before its host in {setting}"
                )
            }
            TunnelError::TunnelUnsuccessful => {
                format!("the proxy {proxy} refuses to connect us there: ask who runs it, or change {setting}")
            }
            TunnelError::Io(_)
            | TunnelError::MissingHost
            | TunnelError::ProxyHeadersTooLong
            | TunnelError::TunnelUnexpectedEof => {
                format!("the proxy {proxy} does not answer as an HTTP proxy does ({error}): check {setting}")
            }
        };
    }
    match found::<SocksError>(error) {
        Some(SocksError::Inner(cause)) => unreached(cause, proxy),
        Some(error) => format!("the proxy {proxy} did not connect us there ({error}): check {setting}"),
        // The proxy has done its part.
        None => direct(error),
    }
}

fn unreached(cause: Cause<'_>, proxy: &ProxyUrl) -> String {
    let setting = proxy.setting();
    format!("the proxy {proxy} could not be reached ({}): check {setting}", direct(cause))
}

/// Returns what TLS has against the other side, and what helps.
#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another library, which grows")]
fn tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(wrong) => certificate(wrong),
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS on this port: check the address, and whether a proxy is in the way"
                .to_owned()
        }
        rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("it does not speak TLS 1.2 or 1.3 as it must ({error}): its owner must update it")
        }
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another library, which grows")]
fn certificate(wrong: &CertificateError) -> String {
    match wrong {
        // A CA that was made anew under its old name signs badly, by the old certificate.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is self-signed or of an unknown CA: if the server is right, set tls = { ca_file = \"..\" } \
             to the certificate of the CA that signed it"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired at {}, and it is {} here: its owner must renew it, unless this clock is wrong",
            moment(*not_after),
            moment(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid from {}, and it is {} here: check this machine's clock",
            moment(*not_before),
            moment(*time)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is for another name: check the address, or ask its owner for one with this name; it is for {}",
            names(presented)
        ),
        CertificateError::Revoked => "its certificate was revoked: its owner must replace it".to_owned(),
        other => format!("its certificate is not acceptable ({other}): its owner must replace it"),
    }
}

/// Returns the names of a certificate for a sentence; the words of the library stand around them.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let shown: Vec<_> = presented.iter().take(MOST_NAMES).map(bare).collect();
    match presented.len().saturating_sub(MOST_NAMES) {
        0 if shown.is_empty() => "no name".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds}"), |time| time.to_string())
}

/// Returns the first error of a type in a chain.
pub(crate) fn found<'e, T: Error + 'static>(error: Cause<'e>) -> Option<&'e T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// Returns the innermost cause: the outer ones only say that there is one, and name the whole URL.
fn innermost(error: Cause<'_>) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain<'e>(error: Cause<'e>) -> impl Iterator<Item = Cause<'e>> {
    successors(Some(error), |&cause| {
        let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map(|held| held as Cause<'e>).or_else(|| cause.source())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect) for https://CANARY@host")]
    struct Wrapped(#[source] io::Error);

    /// Wraps an error as the libraries do: twice in what hides it from `source`.
    fn wrapped(error: impl Into<Box<dyn Error + Send + Sync>>) -> Wrapped {
        Wrapped(io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    fn about(certificate: CertificateError) -> String {
        reason(&wrapped(rustls::Error::InvalidCertificate(certificate)), None)
    }

    #[test]
    fn what_tls_says_is_found_however_deep_it_is() {
        let (now, then) = (Duration::from_secs(1_800_000_000), Duration::from_secs(1_700_000_000));
        let (now, then) = (UnixTime::since_unix_epoch(now), UnixTime::since_unix_epoch(then));
        for (error, expected) in [
            (
                CertificateError::ExpiredContext { time: now, not_after: then },
                "its certificate expired at 2023-11-14T22:13:20Z, and it is 2027-01-15T08:00:00Z here: its owner must \
                 renew it, unless this clock is wrong",
            ),
            (
                CertificateError::NotValidYetContext { time: then, not_before: now },
                "its certificate is valid from 2027-01-15T08:00:00Z, and it is 2023-11-14T22:13:20Z here: check this \
                 machine's clock",
            ),
            (
                CertificateError::UnknownIssuer,
                "its certificate is self-signed or of an unknown CA: if the server is right, set \
                 tls = { ca_file = \"..\" } to the certificate of the CA that signed it",
            ),
            (CertificateError::Revoked, "its certificate was revoked: its owner must replace it"),
        ] {
            let sentence = about(error);
            assert_eq!(sentence, expected);
            // With the account and the host before it, it must fit into what the shim shows: 256 characters.
            assert!(sentence.len() < 160, "{sentence}");
        }
        let old = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert!(reason(&wrapped(old), None).starts_with("it does not speak TLS 1.2 or 1.3"));
    }

    #[test]
    fn a_certificate_with_many_names_does_not_hide_the_remedy() {
        let presented: Vec<_> = (1..=9).map(|number| format!("DnsName(\"{number}.example.com\")")).collect();
        let expected = "localhost".try_into().unwrap();
        let text = about(CertificateError::NotValidForNameContext { expected, presented });
        let (remedy, names) = text.split_once("; it is for ").unwrap();
        assert!(remedy.contains("check the address"), "{text}");
        assert_eq!(names, "1.example.com, 2.example.com, 3.example.com, 4.example.com and 5 more");
    }

    #[test]
    fn what_has_no_type_is_told_in_its_innermost_words() {
        let text = reason(&wrapped(io::Error::from(io::ErrorKind::ConnectionReset)), None);
        assert_eq!(text, "connection reset");
    }
}
