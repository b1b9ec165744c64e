//! Why there was no connection, in words that name the remedy.
//!
//! What is behind an error is found by its type, whoever wrapped it: reqwest, hyper or tonic. Their texts are repeated
//! where there is no type, and decide nothing. The thing to get wrong: an `io::Error` hides the error that it holds from
//! `source`.

use std::error::Error;
use std::io;
use std::iter::successors;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
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
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of another library, which grows")]
fn certificate(wrong: &CertificateError) -> String {
    match wrong {
        // A CA that was made anew under its old name signs badly, by the old certificate.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by an authority that is not trusted here: if it is the right server, set \
             tls = { ca_file = \"..\" } to the certificate of the CA that signed it"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired at {}, and the time here is {}: its owner must renew it, unless this clock is wrong",
            moment(*not_after),
            moment(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid from {}, and the time here is {}: check this machine's clock",
            moment(*not_before),
            moment(*time)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is for another name ({}): check the address, or ask its owner for a certificate with this name",
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
        0 if shown.is_empty() => "it has none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| format!("second {seconds}"), |time| time.to_string())
}

/// Returns the first error of a type in a chain.
fn found<'e, T: Error + 'static>(error: Cause<'e>) -> Option<&'e T> {
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
