//! What a request asks for, by its head alone.
//!
//! The thing to get wrong: web pages can make a browser send requests here. Their host is another one (DNS rebinding),
//! or the browser says that it is not a person who goes there (`Sec-Fetch-*`). Programs that send no such header are
//! heard.

use axum::body::Body;
use axum::http::header::{HOST, HeaderName, HeaderValue, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use secrecy::SecretString;

use crate::grant::loopback::pages;
use crate::grant::loopback::redirect_uri::Host;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What comes behind the callback's path once it is heard, so that the browser's history does not keep the code.
const OUTCOME: &str = "done";

/// Where we listen, as a browser names it.
#[derive(Debug)]
pub(crate) struct Place {
    authority: String,
    /// Where callbacks go.
    callback: String,
    /// Where the browser is sent after its callback.
    outcome: String,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// To hear a callback: its query, which may hold a code.
    Callback(SecretString),
    /// To be told how the login ended.
    Outcome,
    /// Nothing that there is, and why.
    Nothing(&'static str),
}

impl Place {
    /// Returns the place of a callback.
    pub(crate) fn new(host: Host, port: u16, path: &str) -> Self {
        let callback = if path.is_empty() { "/" } else { path };
        let outcome = format!("{}/{OUTCOME}", callback.trim_end_matches('/'));
        // Browsers leave the scheme's own port out.
        let authority = if port == 80 { host.to_string() } else { format!("{host}:{port}") };
        Self { authority, callback: callback.to_owned(), outcome }
    }

    /// Sends a browser to where it is told the outcome: its history then has that address and not the code's.
    pub(super) fn wait_elsewhere(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SEE_OTHER;
        pages::keep_to_ourselves(response.headers_mut());
        match HeaderValue::from_str(&self.outcome) {
            Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
            Err(error) => tracing::error!(%error, "the path of the redirect URI fits no header"),
        }
        response
    }

    /// Reads a request's head.
    pub(crate) fn read(&self, head: &Parts) -> Asked {
        if head.method != Method::GET {
            return Asked::Nothing("another method than GET");
        }
        // The form for proxies names a host of its own.
        if head.uri.authority().is_some() || !self.is_host(&head.headers) {
            return Asked::Nothing("another host");
        }
        if !says_only(&head.headers, &SEC_FETCH_MODE, "navigate")
            || !says_only(&head.headers, &SEC_FETCH_DEST, "document")
        {
            return Asked::Nothing("a web page asks, not a person");
        }
        let path = head.uri.path();
        if path == self.callback {
            Asked::Callback(head.uri.query().unwrap_or_default().into())
        } else if path == self.outcome {
            Asked::Outcome
        } else {
            Asked::Nothing("another path")
        }
    }

    /// Tells whether the one host that is named is the one of the redirect URI. Every browser names one.
    fn is_host(&self, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(HOST).iter();
        let is_ours =
            named.next().is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(self.authority.as_bytes()));
        is_ours && named.next().is_none()
    }
}

/// Tells whether a header, if it is there at all, has this value.
fn says_only(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    headers.get_all(name).iter().all(|said| said.as_bytes() == value.as_bytes())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use secrecy::ExposeSecret;

    use super::*;

    fn place(path: &str) -> Place {
        Place::new(Host::Localhost, 53593, path)
    }

    fn asked(target: &str, headers: &[(&str, &str)]) -> Asked {
        let mut request = Request::get(target).header("Host", "localhost:53593");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        place("/callback").read(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_callback_is_heard_as_it_came() {
        let navigation = [
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-User", "?1"),
        ];
        for headers in [&navigation[..], &[]] {
            let Asked::Callback(query) = asked("/callback?code=a%2Fb&state=c", headers) else {
                panic!("not heard");
            };
            assert_eq!(query.expose_secret(), "code=a%2Fb&state=c");
        }
    }

    #[test]
    fn only_the_exact_path_is_a_callback() {
        for target in
            ["/", "/callback/", "/callbacks", "/CALLBACK", "//callback", "/a/callback", "/favicon.ico"]
        {
            assert!(matches!(asked(target, &[]), Asked::Nothing(_)), "{target}");
        }
        assert!(matches!(asked("/callback/done", &[]), Asked::Outcome));
    }

    #[test]
    fn a_redirect_uri_without_a_path_is_called_back_at_the_root() {
        for path in ["", "/"] {
            let place = place(path);
            assert_eq!((place.callback.as_str(), place.outcome.as_str()), ("/", "/done"));
        }
    }

    #[test]
    fn what_a_web_page_makes_the_browser_send_is_not_heard() {
        let cases = [
            ("Sec-Fetch-Mode", "no-cors"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Mode", "websocket"),
            ("Sec-Fetch-Dest", "image"),
            ("Sec-Fetch-Dest", "iframe"),
            ("Sec-Fetch-Dest", "empty"),
        ];
        for header in cases {
            assert!(matches!(asked("/callback?state=s", &[header]), Asked::Nothing(_)), "{header:?}");
            assert!(matches!(asked("/callback/done", &[header]), Asked::Nothing(_)), "{header:?}");
        }
    }

    #[test]
    fn a_host_of_another_name_is_not_ours_even_if_it_leads_here() {
        for host in [
            None,
            Some("evil.example:53593"),
            Some("localhost"),
            Some("127.0.0.1:53593"),
            Some("localhost:1"),
        ] {
            let mut request = Request::get("/callback?state=s");
            if let Some(host) = host {
                request = request.header("Host", host);
            }
            let head = request.body(()).unwrap().into_parts().0;
            assert!(matches!(place("/callback").read(&head), Asked::Nothing(_)), "{host:?}");
        }
        assert!(matches!(asked("/callback", &[("Host", "evil.example")]), Asked::Nothing(_)), "two hosts");
        assert!(matches!(asked("http://localhost:53593/callback", &[]), Asked::Nothing(_)), "a proxy's form");
        assert!(matches!(asked("/callback", &[]), Asked::Callback(_)));
    }

    #[test]
    fn other_methods_are_not_heard() {
        for method in ["POST", "HEAD", "PUT", "OPTIONS", "DELETE"] {
            let request =
                Request::builder().method(method).uri("/callback?state=s").header("Host", "localhost:53593");
            let head = request.body(()).unwrap().into_parts().0;
            assert!(matches!(place("/callback").read(&head), Asked::Nothing(_)), "{method}");
        }
    }
}
