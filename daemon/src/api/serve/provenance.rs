//! Who a request says it comes from and whom it is for. Web pages get nothing.
//!
//! No page reaches a Unix socket by itself. But people put bridges in front of sockets, and then any page can send requests
//! there: under a name of its own, or as a request from one site to another. The thing to get wrong: to answer such a
//! request at all may be the harm, so it is refused before any handler sees it, and nothing here ever speaks of CORS.

use axum::http::header::{HOST, HeaderName, ORIGIN, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, Version};
use keyfob_protocol::error::{ErrorBody, ErrorCode};

/// The names under which we are asked: the shim's, and what people type with `curl --unix-socket`.
const NAMES: [&str; 2] = ["keyfob", "localhost"];

/// What browsers alone send with a page's requests. Not `sec-fetch-mode`: Node's `fetch` sends that, too.
const OF_BROWSERS: [HeaderName; 4] = [
    ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-user"),
];

/// Says what is wrong with where a request comes from, if anything is.
pub(super) fn fault(head: &Parts) -> Option<ErrorBody> {
    let headers = &head.headers;
    if OF_BROWSERS.iter().any(|name| headers.contains_key(name)) {
        return Some(denied("a web page has no business here"));
    }
    if !is_for_us(headers, &head.uri) {
        return Some(denied("the Host header must be localhost").with_hint("ask for http://localhost/"));
    }
    if head.version != Version::HTTP_11 {
        return Some(bad("keyfobd speaks HTTP/1.1 alone"));
    }
    // Where a body ends must not depend on who reads it (RFC 9112 §6.1): here it is Content-Length that says it.
    if headers.contains_key(TRANSFER_ENCODING) {
        return Some(bad("a body needs a Content-Length, and no Transfer-Encoding"));
    }
    None
}

/// Tells whether a request names us, and nobody else beside.
fn is_for_us(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let is_ours = |name: &[u8]| NAMES.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()));
    more.is_none()
        && host.is_some_and(|host| is_ours(host.as_bytes()))
        && uri.authority().is_none_or(|authority| is_ours(authority.as_str().as_bytes()))
}

fn denied(why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::Denied, why)
}

fn bad(why: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, why)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn fault_of(uri: &str, version: Version, headers: &[(&str, &str)]) -> Option<ErrorCode> {
        let mut request = Request::get(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fault(&request.body(()).unwrap().into_parts().0).map(|body| body.error)
    }

    #[test]
    fn programs_of_this_machine_are_heard() {
        for host in ["localhost", "keyfob", "LocalHost"] {
            assert_eq!(fault_of("/", Version::HTTP_11, &[("host", host)]), None);
        }
        let whole = fault_of("http://localhost/v1/accounts", Version::HTTP_11, &[("host", "localhost")]);
        assert_eq!(whole, None);
        let node = [("host", "localhost"), ("sec-fetch-mode", "cors"), ("user-agent", "node")];
        assert_eq!(fault_of("/", Version::HTTP_11, &node), None);
    }

    #[test]
    fn a_request_for_somebody_else_is_refused() {
        let denied = Some(ErrorCode::Denied);
        assert_eq!(fault_of("/", Version::HTTP_11, &[]), denied);
        for host in
            ["", "evil.example", "localhost.evil.example", "localhost:80", "127.0.0.1", "localhost, a"]
        {
            assert_eq!(fault_of("/", Version::HTTP_11, &[("host", host)]), denied, "{host}");
        }
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(fault_of("/", Version::HTTP_11, &two), denied);
        for uri in ["http://evil.example/", "http://localhost:1/", "http://user@localhost/"] {
            assert_eq!(fault_of(uri, Version::HTTP_11, &[("host", "localhost")]), denied, "{uri}");
        }
    }

    #[test]
    fn a_web_page_is_refused_wherever_it_says_it_is_from() {
        let signs = [
            ("origin", "null"),
            ("origin", "http://localhost"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-dest", "image"),
            ("sec-fetch-user", "?1"),
        ];
        for sign in signs {
            let headers = [("host", "localhost"), sign];
            assert_eq!(fault_of("/", Version::HTTP_11, &headers), Some(ErrorCode::Denied), "{sign:?}");
        }
    }

    #[test]
    fn where_a_body_ends_is_never_ambiguous() {
        let bad = Some(ErrorCode::BadRequest);
        for coding in ["chunked", "identity", "gzip, chunked", "x"] {
            let headers = [("host", "localhost"), ("transfer-encoding", coding)];
            assert_eq!(fault_of("/", Version::HTTP_11, &headers), bad, "{coding}");
            let both = [headers[0], headers[1], ("content-length", "5")];
            assert_eq!(fault_of("/", Version::HTTP_11, &both), bad, "{coding}");
        }
        for version in [Version::HTTP_10, Version::HTTP_09, Version::HTTP_2] {
            assert_eq!(fault_of("/", version, &[("host", "localhost")]), bad);
        }
    }
}
