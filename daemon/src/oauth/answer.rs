//! An answer of the issuer, or of something that stands between.
//!
//! The body decides what it is; the content type does not, since proxies and issuers alike get it wrong. The thing to
//! get wrong: an error is an OAuth error only if it is a JSON object with an `error`, on whatever status.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::header::{CACHE_CONTROL, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::oauth::error::{Code, Kind, Refusal, decides_alone};
use crate::oauth::json::{self, Malformed, Member};
use crate::token::answered::{Answered, Terms};

/// Nobody asks for less in earnest, and a zero would make a storm.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// An issuer that asks for more is asked again all the same: it may have been mistaken.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A whole answer.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// How long the issuer asks us to wait (RFC 9110 §10.2.3).
    pub(crate) retry_after: Option<Duration>,
    /// For how long the answer says that it is good (RFC 9111 §5.2.2).
    pub(crate) max_age: Option<Duration>,
    /// Where a redirect points to, without anything that could be secret.
    target: Option<String>,
    /// The body: it may be all that there is of a new refresh token.
    body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct ErrorMembers<'a> {
    #[serde(borrow)]
    error: Member<'a>,
    #[serde(borrow)]
    error_description: Member<'a>,
    #[serde(borrow)]
    error_uri: Member<'a>,
}

impl Answer {
    /// Puts an answer together. `wall` gives a `Retry-After` that is a date its meaning.
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Zeroizing<Vec<u8>>,
        wall: Timestamp,
    ) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            status,
            retry_after: header(RETRY_AFTER).and_then(|text| retry_after(text, wall)),
            max_age: header(CACHE_CONTROL).and_then(max_age),
            target: header(LOCATION)
                .and_then(|text| Url::parse(text).ok())
                .map(|url| url.origin().ascii_serialization()),
            body,
        }
    }

    /// Returns the answer in the form in which it rests until it has been read.
    pub(crate) fn into_answered(self, terms: Terms) -> Answered {
        let Self { status, retry_after, target, body, .. } = self;
        Answered { status: status.as_u16(), retry_after, redirect: target, body, terms }
    }

    /// Returns an answer that rested.
    pub(crate) fn of(answered: &Answered) -> Self {
        Self {
            // What came over HTTP has a status that fits, and what was sealed is what came.
            status: StatusCode::from_u16(answered.status).unwrap_or(StatusCode::BAD_GATEWAY),
            retry_after: answered.retry_after,
            max_age: None,
            target: answered.redirect.clone(),
            body: answered.body.clone(),
        }
    }

    /// Returns an answer with no headers.
    #[cfg(test)]
    pub(crate) fn plain(status: u16, body: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self::new(status, &HeaderMap::new(), Zeroizing::new(body.as_bytes().to_vec()), Timestamp::UNIX_EPOCH)
    }

    /// Reads the members of a success.
    pub(crate) fn members<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Kind> {
        if !self.status.is_success() {
            return Err(self.failure());
        }
        json::object(&self.body).map_err(|malformed: Malformed| self.unusable(&malformed.to_string()))
    }

    /// Tells whether it refuses a proof of possession for the want of a nonce (RFC 9449 §8): nothing else was looked at.
    pub(crate) fn demands_nonce(&self) -> bool {
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
            && self.refusal().is_some_and(|refusal| refusal.code == Code::UseDpopNonce)
    }

    /// Says what an answer that is no success is.
    pub(crate) fn failure(&self) -> Kind {
        let (status, retry_after) = (self.status, self.retry_after);
        if status.is_redirection() {
            let target = self.target.clone().unwrap_or_else(|| "another page".to_owned());
            return Kind::Redirect { status, target };
        }
        if let Some(refusal) = self.refusal() {
            return Kind::OAuth { status, refusal, retry_after };
        }
        // A load balancer in trouble sends a page too, and so does a wrong address.
        if self.is_html() && !decides_alone(status) {
            return Kind::Html { status };
        }
        Kind::Status { status, retry_after }
    }

    /// Says what a success is that lacks what was asked for.
    pub(crate) fn unusable(&self, reason: &str) -> Kind {
        if let Some(refusal) = self.refusal() {
            return Kind::OAuth { status: self.status, refusal, retry_after: self.retry_after };
        }
        if self.is_html() {
            return Kind::Html { status: self.status };
        }
        Kind::Malformed { reason: reason.to_owned() }
    }

    fn refusal(&self) -> Option<Refusal> {
        let members: ErrorMembers<'_> = json::object(&self.body).ok()?;
        Some(Refusal {
            code: json::text(members.error)?.into(),
            description: json::text(members.error_description),
            uri: json::text(members.error_uri),
        })
    }

    /// Tells whether the body is a page for people.
    fn is_html(&self) -> bool {
        let start = self.body.trim_ascii_start();
        ["<!doctype html", "<html", "<head", "<body", "<script", "<!--"]
            .iter()
            .any(|tag| start.get(..tag.len()).is_some_and(|text| text.eq_ignore_ascii_case(tag.as_bytes())))
    }
}

/// Reads a `Cache-Control`: what must not be kept is good for no time.
fn max_age(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let directives = || lower.split(',').map(str::trim);
    if directives().any(|directive| matches!(directive, "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

/// Reads a `Retry-After`: seconds or a date.
fn retry_after(text: &str, wall: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(LONGEST_WAIT, Duration::from_secs)
    } else {
        let date = rfc2822::parse(text).ok()?.timestamp();
        date.duration_since(wall).try_into().unwrap_or(Duration::ZERO)
    };
    Some(wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[derive(Deserialize)]
    struct Anything {}

    #[test]
    fn a_retry_after_is_seconds_or_a_date_and_is_clamped_s_5() {
        for (text, expected) in [
            ("1", Some(1)),
            ("0", Some(1)),
            (" 30 ", Some(30)),
            ("3600", Some(3600)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sat, 21 Nov 2026 12:02:00 GMT", Some(120)),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(1)),
            ("Mon, 21 Nov 2033 12:00:00 GMT", Some(3600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, wall()), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_cache_control_says_how_long_an_answer_is_good() {
        for (text, expected) in [
            ("max-age=600", Some(600)),
            ("public, Max-Age=\"60\" , must-revalidate", Some(60)),
            ("no-store", Some(0)),
            ("max-age=600, no-cache", Some(0)),
            ("s-maxage=600", None),
            ("max-age=-1", None),
            ("max-age", None),
            ("private", None),
            ("", None),
        ] {
            assert_eq!(max_age(text), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn an_error_object_is_an_oauth_error_on_any_status() {
        for status in [200, 400, 401, 403, 429, 500, 503] {
            let answer = Answer::plain(
                status,
                r#"{"error":"slow_down","error_description":"easy","error_uri":"https://e"}"#,
            );
            let kind = if status == 200 { answer.unusable("no token") } else { answer.failure() };
            let Kind::OAuth { refusal, .. } = kind else { panic!("{status}: {kind}") };
            assert_eq!(refusal.to_string(), "slow_down (easy; see https://e)");
        }
    }

    #[test]
    fn a_page_is_known_by_its_body() {
        for page in [
            "<!DOCTYPE html><title>x",
            "\r\n <HTML><body>",
            "<html lang=en>",
            "<script>location='/'</script>",
        ] {
            assert!(
                matches!(Answer::plain(200, page).members::<Anything>(), Err(Kind::Html { .. })),
                "{page}"
            );
            assert!(matches!(Answer::plain(403, page).failure(), Kind::Html { .. }), "{page}");
            assert!(matches!(Answer::plain(503, page).failure(), Kind::Status { .. }), "{page}");
            assert!(matches!(Answer::plain(404, page).failure(), Kind::Status { .. }), "{page}");
        }
        for other in
            ["", "<", "<?xml version='1.0'?>", "no", r#"{"error":1}"#, r#"{"error":""}"#, r#"["error"]"#]
        {
            assert!(matches!(Answer::plain(403, other).failure(), Kind::Status { .. }), "{other}");
        }
        assert!(matches!(Answer::plain(200, "no").members::<Anything>(), Err(Kind::Malformed { .. })));
    }

    #[test]
    fn a_redirect_is_told_by_its_origin_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "http://portal.example/login?next=SECRET".parse().unwrap());
        let answer = Answer::new(StatusCode::FOUND, &headers, Zeroizing::default(), wall());
        let Kind::Redirect { target, .. } = answer.failure() else { panic!() };
        assert_eq!(target, "http://portal.example");
    }
}
