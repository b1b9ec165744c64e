//! Device authorization (RFC 8628 §3.1, §3.2): a code for a person, and a secret code for us.
//!
//! The thing to get wrong: the `device_code` buys the tokens, so it is as secret as they are; the `user_code` is what is
//! shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::oauth::answer::Answer;
use crate::oauth::error::{Error, Kind};
use crate::oauth::form::Form;
use crate::oauth::json::{self, Member};
use crate::oauth::request::Request;
use crate::oauth::{LoopbackHttp, is_loopback};
use crate::token::Target;

/// RFC 8628 §3.2.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// An issuer may ask for less; nobody types that fast.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// `expires_in` is required, yet some leave it out: the shortest life that is common.
const DEFAULT_LIFE: Duration = Duration::from_secs(600);

/// A login that nobody answers must end some time.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Codes have about ten characters; a longer one is not for people.
const LONGEST_USER_CODE: usize = 64;

/// Enough for a code within an address, too little to fill a screen.
const LONGEST_URI: usize = 2048;

/// What the issuer answers.
pub(crate) struct DeviceAuthorization {
    /// What we poll with.
    pub(crate) device_code: SecretString,
    /// What the person enters.
    pub(crate) user_code: String,
    /// Where.
    pub(crate) verification_uri: Url,
    /// Where, with the code in it.
    pub(crate) verification_uri_complete: Option<Url>,
    /// How long the codes live, counted from the request.
    pub(crate) life: Duration,
    /// The least time between two polls.
    pub(crate) interval: Duration,
}

impl fmt::Debug for DeviceAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization").field("user_code", &self.user_code).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// For what, and for whom.
    pub(crate) target: &'a Target,
    /// What the account adds.
    pub(crate) extra: &'a BTreeMap<String, String>,
    /// Whether the page may be on loopback without TLS.
    pub(crate) loopback: LoopbackHttp,
}

/// Asks for the codes.
pub(crate) async fn authorize(request: &Request<'_>, asked: Asked<'_>) -> Result<DeviceAuthorization, Error> {
    let form = Form::default()
        // Required here (RFC 8628 §3.1), even of a client whose authentication names it as well.
        .with("client_id", &request.credentials.client_id)
        .asking_for(asked.target)
        .with_extra(asked.extra);
    request.post(form, |answer| authorization(answer, asked.loopback)).await
}

/// RFC 8628 §3.2; `verification_url` is from the time of its drafts, and Google still sends it.
#[derive(Deserialize)]
struct AuthorizationMembers<'a> {
    #[serde(borrow)]
    device_code: Member<'a>,
    #[serde(borrow)]
    user_code: Member<'a>,
    #[serde(borrow)]
    verification_uri: Member<'a>,
    #[serde(borrow)]
    verification_url: Member<'a>,
    #[serde(borrow)]
    verification_uri_complete: Member<'a>,
    #[serde(borrow)]
    expires_in: Member<'a>,
    #[serde(borrow)]
    interval: Member<'a>,
}

/// Reads the answer.
pub(crate) fn authorization(answer: &Answer, loopback: LoopbackHttp) -> Result<DeviceAuthorization, Kind> {
    let members: AuthorizationMembers<'_> = answer.members()?;
    let device_code =
        json::secret(members.device_code).ok_or_else(|| answer.unusable("it has no device_code"))?;
    let user_code = json::text(members.user_code)
        .filter(|code| {
            code.len() <= LONGEST_USER_CODE && code.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        })
        .ok_or_else(|| answer.unusable("it has no user_code that can be shown"))?;
    let page = json::text(members.verification_uri)
        .or_else(|| json::text(members.verification_url))
        .ok_or_else(|| answer.unusable("it has no verification_uri"))?;
    let parse = |text: String| {
        page_url(&text, loopback).ok_or_else(|| answer.unusable("its verification_uri is no https address"))
    };
    Ok(DeviceAuthorization {
        device_code,
        user_code,
        verification_uri: parse(page)?,
        verification_uri_complete: json::text(members.verification_uri_complete).map(parse).transpose()?,
        life: json::duration(members.expires_in, LONGEST_LIFE).unwrap_or(DEFAULT_LIFE),
        interval: json::duration(members.interval, LONGEST_LIFE)
            .unwrap_or(DEFAULT_INTERVAL)
            .max(SHORTEST_INTERVAL),
    })
}

/// Reads the address of a page. Unlike an endpoint it may have a fragment: a page may well be an application.
fn page_url(text: &str, loopback: LoopbackHttp) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let over_tls = url.scheme() == "https";
    let on_loopback = url.scheme() == "http" && loopback == LoopbackHttp::Allowed && is_loopback(&url);
    let has_user = !url.username().is_empty() || url.password().is_some();
    ((over_tls || on_loopback) && !has_user && url.as_str().len() <= LONGEST_URI).then_some(url)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::client_auth::{Credentials, Proof};
    use crate::oauth::http::Http;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::token::Scope;

    fn read(body: &str) -> Result<DeviceAuthorization, Kind> {
        authorization(&Answer::plain(200, body), LoopbackHttp::Refused)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"device_code":"DC","user_code":"WDJB-MJHT"{members}}}"#)
    }

    const PAGE: &str = r#","verification_uri":"https://i/device""#;

    #[test]
    fn the_times_have_defaults_and_limits_8628_1() {
        for (members, interval, life) in [
            ("", 5, 600),
            (r#","interval":null,"expires_in":null"#, 5, 600),
            (r#","interval":7,"expires_in":1800"#, 7, 1800),
            (r#","interval":"7","expires_in":"1800""#, 7, 1800),
            (r#","interval":0,"expires_in":0"#, 1, 0),
            (r#","interval":-3,"expires_in":1e400"#, 1, 86_400),
            (r#","interval":"often","expires_in":"long""#, 5, 600),
        ] {
            let codes = read(&with(&format!("{PAGE}{members}"))).unwrap();
            assert_eq!(codes.interval, Duration::from_secs(interval), "{members}");
            assert_eq!(codes.life, Duration::from_secs(life), "{members}");
        }
    }

    #[test]
    fn what_is_needed_must_be_there() {
        for body in [
            "{}".to_owned(),
            with(""),
            format!(r#"{{"user_code":"U"{PAGE}}}"#),
            format!(r#"{{"device_code":"","user_code":"U"{PAGE}}}"#),
            format!(r#"{{"device_code":"DC"{PAGE}}}"#),
            format!(r#"{{"device_code":"DC","user_code":7{PAGE}}}"#),
        ] {
            assert!(matches!(read(&body), Err(Kind::Malformed { .. })), "{body}");
        }
    }

    #[test]
    fn a_user_code_can_be_shown() {
        let code = |code: &str| read(&format!(r#"{{"device_code":"DC","user_code":"{code}"{PAGE}}}"#));
        assert_eq!(code("WDJB MJHT").unwrap().user_code, "WDJB MJHT");
        assert!(code(&"A".repeat(LONGEST_USER_CODE)).is_ok());
        for bad in [&"A".repeat(LONGEST_USER_CODE + 1), "A\\u001b[2J", "A\\nB", "\u{202e}A", "é"] {
            assert!(code(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_is_https_or_loopback_where_that_is_allowed() {
        for member in ["verification_uri", "verification_url"] {
            let codes = read(&with(&format!(r#","{member}":"https://i/device#/code""#))).unwrap();
            assert_eq!(codes.verification_uri.as_str(), "https://i/device#/code");
        }
        let complete = r#","verification_uri_complete":"https://i/device?user_code=WDJB-MJHT""#;
        let codes = read(&with(&format!("{PAGE}{complete}"))).unwrap();
        assert_eq!(codes.verification_uri_complete.unwrap().query(), Some("user_code=WDJB-MJHT"));
        let long = format!("https://i/{}", "x".repeat(LONGEST_URI));
        for bad in [
            "http://i/device",
            "http://127.0.0.1/d",
            "javascript:alert(1)",
            "/device",
            "https://u:p@i/",
            &long,
        ] {
            assert!(read(&with(&format!(r#","verification_uri":"{bad}""#))).is_err(), "{bad}");
            let complete = format!(r#"{PAGE},"verification_uri_complete":"{bad}""#);
            assert!(read(&with(&complete)).is_err(), "{bad}");
        }
        let loopback = Answer::plain(200, &with(r#","verification_uri":"http://127.0.0.1/d""#));
        assert!(authorization(&loopback, LoopbackHttp::Allowed).is_ok());
    }

    #[test]
    fn the_debug_form_has_no_device_code_8628_6() {
        let codes = read(&with(PAGE)).unwrap();
        assert_eq!(codes.device_code.expose_secret(), "DC");
        assert!(!format!("{codes:?}").contains("DC"));
    }

    #[tokio::test]
    async fn the_request_names_client_and_target_once_8707_1() {
        let server = ScriptedServer::answering([json(200, &with(PAGE))]).await;
        let (http, endpoint) = (Http::new().unwrap(), server.endpoint("/device"));
        let extra = BTreeMap::from([("prompt".to_owned(), "consent".to_owned())]);
        for (proof, audience, expected) in [
            (Proof::None, None, "scope=all+offline&resource=https%3A%2F%2Fa&prompt=consent&client_id=cli"),
            (
                Proof::Basic("s".into()),
                Some("aud"),
                "client_id=cli&scope=all+offline&audience=aud&resource=https%3A%2F%2Fa&prompt=consent",
            ),
            (
                Proof::Post("s".into()),
                None,
                "scope=all+offline&resource=https%3A%2F%2Fa&prompt=consent&client_id=cli&client_secret=s",
            ),
        ] {
            let credentials = Credentials { client_id: "cli".to_owned(), proof };
            let started = Clock::system().now();
            let request = Request {
                http: &http,
                endpoint: &endpoint,
                credentials: &credentials,
                started,
                proof_key: None,
            };
            let target = Target {
                scope: Scope::parse("offline all"),
                audience: audience.map(str::to_owned),
                resources: ["https://a".to_owned()].into(),
            };
            let asked = Asked { target: &target, extra: &extra, loopback: LoopbackHttp::Refused };
            authorize(&request, asked).await.unwrap();
            let request = server.requests().pop().unwrap();
            assert_eq!(request.split_once("\r\n\r\n").unwrap().1, expected);
        }
    }
}
