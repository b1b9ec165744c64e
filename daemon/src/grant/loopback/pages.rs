//! The pages that a browser is shown, ours or the account's own.
//!
//! The thing to get wrong: whatever a page repeats of a request, anybody on the web can put there. So ours repeat
//! nothing, have no script and load nothing; why a login failed stands in the terminal.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::token::failure::Failure;

/// The frame of all of them.
const FRAME: &str = include_str!("pages/frame.html");

/// Their looks. The page's policy names them by their hash.
const STYLE: &str = include_str!("pages/style.css");

/// The longest page of an account's own: ours have 4 KiB, and pictures are linked.
const MAX_OWN: u64 = 256 * 1024;

/// How long an own page may take to be read, from a network drive for instance, before ours is shown.
const OWN_PATIENCE: Duration = Duration::from_secs(2);

/// What an own page may load: looks from anywhere, and no script.
const OWN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline' https:; img-src data: https:; \
    font-src data: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An account's own pages, HTML files that are shown instead of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// After a login.
    pub success: Option<PathBuf>,
    /// After one that failed.
    pub failure: Option<PathBuf>,
}

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Signed in.
    Success,
    /// It did not work this time.
    Trouble,
    /// The issuer said no.
    Refused,
    /// The settings must be mended.
    Misconfigured,
    /// The login is begun anew, with another page.
    Anew,
    /// The callback has come already.
    Processing,
    /// Nobody waits for the login any more.
    Cancelled,
    /// A callback that is not the one waited for.
    Stray,
    /// There is nothing.
    NotFound,
}

/// What stands on a page.
struct Words {
    sign: &'static str,
    tone: &'static str,
    title: &'static str,
    text: &'static str,
}

impl Pages {
    /// Returns a page, the account's own where it has one.
    pub(super) async fn response(&self, page: Page) -> Response<Body> {
        let own = match page {
            Page::Success => &self.success,
            Page::Trouble | Page::Refused | Page::Misconfigured => &self.failure,
            Page::Anew | Page::Processing | Page::Cancelled | Page::Stray | Page::NotFound => &None,
        };
        let Some(path) = own else { return page.response() };
        let read = tokio::time::timeout(OWN_PATIENCE, read(path)).await;
        match read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(html) => response(page.status(), html, OWN_POLICY),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot show the account's own page, so ours is shown");
                page.response()
            }
        }
    }
}

impl Page {
    /// Returns the page that tells how a login ended.
    pub(super) fn of(outcome: Result<(), &Failure>) -> Self {
        match outcome {
            Ok(()) => Self::Success,
            Err(Failure::Transient { .. } | Failure::Ambiguous { .. }) => Self::Trouble,
            Err(Failure::Refused { .. } | Failure::LoginRequired) => Self::Refused,
            Err(Failure::Misconfigured { .. }) => Self::Misconfigured,
        }
    }

    /// Returns our page.
    pub(super) fn response(self) -> Response<Body> {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        response(self.status(), self.html(), &policy)
    }

    fn html(self) -> String {
        let Words { sign, tone, title, text } = self.words();
        FRAME
            .replace("{style}", STYLE)
            .replace("{sign}", sign)
            .replace("{tone}", tone)
            .replace("{title}", title)
            .replace("{text}", text)
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Success | Self::Anew => StatusCode::OK,
            Self::Trouble | Self::Refused | Self::Misconfigured | Self::Stray => StatusCode::BAD_REQUEST,
            Self::Processing => StatusCode::CONFLICT,
            Self::Cancelled => StatusCode::GONE,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }

    fn words(self) -> Words {
        const CHECK: &str = r#"<path d="M15 25l6.5 6.5L34 18"/>"#;
        const CROSS: &str = r#"<path d="M17 17l14 14M31 17L17 31"/>"#;
        const DOTS: &str = r#"<path d="M14 24h.01M24 24h.01M34 24h.01"/>"#;
        let (sign, tone, title, text) = match self {
            Self::Success => {
                (CHECK, "good", "You are signed in", "You can close this tab and go back to your terminal.")
            }
            Self::Trouble => (
                CROSS,
                "bad",
                "That did not work",
                "You are not signed in. Your terminal says what went wrong; to try again, run <code>keyfob login</code> \
                 there.",
            ),
            Self::Refused => (
                CROSS,
                "bad",
                "The sign-in was refused",
                "You are not signed in. Your terminal says why; to try again, run <code>keyfob login</code> there.",
            ),
            Self::Misconfigured => (
                CROSS,
                "bad",
                "keyfob needs other settings",
                "You are not signed in. Your terminal says what to change in the configuration.",
            ),
            Self::Anew => (
                DOTS,
                "calm",
                "Once more, please",
                "Your issuer gave a token that tools cannot use, so keyfob asks it for another kind. Go on with the new \
                 page that your terminal opens or shows.",
            ),
            Self::Processing => (
                DOTS,
                "calm",
                "Already being processed",
                "keyfob has heard of this sign-in and is finishing it. There is nothing more to do here: your \
                 terminal says how it ends.",
            ),
            Self::Cancelled => (
                CROSS,
                "bad",
                "The sign-in was cancelled",
                "You are not signed in. To start another, run <code>keyfob login</code> in your terminal.",
            ),
            Self::Stray => (
                CROSS,
                "calm",
                "This is another sign-in",
                "It is not the one that keyfob waits for, or it is over. If your terminal still waits, open \
                 the page that it shows.",
            ),
            Self::NotFound => (
                DOTS,
                "calm",
                "Nothing here",
                "keyfob waits at this port for a sign-in. Open the page that your terminal shows.",
            ),
        };
        Words { sign, tone, title, text }
    }
}

/// Keeps what is answered out of caches, frames, and the `Referer` of the next page.
pub(super) fn keep_to_ourselves(headers: &mut HeaderMap) {
    for (name, value) in
        [(CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer"), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn response(status: StatusCode, html: String, policy: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    keep_to_ourselves(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = HeaderValue::from_str(policy).expect("a policy is printable ASCII");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Reads an own page. Only a file has an end.
async fn read(path: &Path) -> io::Result<String> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(invalid("it is no file"));
    }
    let mut html = Vec::new();
    tokio::fs::File::open(path).await?.take(MAX_OWN + 1).read_to_end(&mut html).await?;
    if html.len() as u64 > MAX_OWN {
        return Err(invalid("it is longer than 256 KiB"));
    }
    String::from_utf8(html).map_err(|_| invalid("it is not UTF-8"))
}
