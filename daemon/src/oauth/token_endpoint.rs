//! The token endpoint (RFC 6749 §3.2): one POST for every grant, one reader for every answer.
//!
//! The reader is strict about what protects (the token's type and form, a member that comes twice) and lenient about
//! the rest. The thing to get wrong: a lifetime is counted from when the request was sent, never from its answer.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::clock::{Moment, Now};
use crate::oauth::answer::Answer;
use crate::oauth::error::{Error, Kind, Presented};
use crate::oauth::form::Form;
use crate::oauth::json::{self, Member};
use crate::oauth::jwt;
use crate::oauth::request::Request;
use crate::token::{AccessToken, RefreshToken, Scope, Target, TokenSet};

/// The longest life that we believe in: a longer one is a mistake, and is renewed before it matters.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is given for tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange<'a> {
    /// RFC 6749 §6.
    RefreshToken {
        /// The refresh token.
        refresh: &'a RefreshToken,
        /// What is asked for, where it is not all that was granted: naming that again would change nothing, and issuers
        /// differ in what they make of it.
        wanted: Option<&'a Target>,
    },
    /// RFC 8628 §3.4.
    DeviceCode(&'a SecretString),
    /// RFC 6749 §4.4.
    ClientCredentials {
        /// What is asked for.
        scope: &'a Scope,
        /// For whom, where the issuer wants to know.
        audience: Option<&'a str>,
    },
}

impl Exchange<'_> {
    fn form(self) -> Form {
        match self {
            Self::RefreshToken { refresh, wanted } => {
                let form = Form::default()
                    .with("grant_type", "refresh_token")
                    .with_secret("refresh_token", &refresh.secret);
                match wanted {
                    None => form,
                    Some(Target { scope, audience, .. }) => form
                        .with("scope", scope.to_string())
                        .with("audience", audience.clone().unwrap_or_default()),
                }
            }
            Self::DeviceCode(device_code) => Form::default()
                .with("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
                .with_secret("device_code", device_code),
            Self::ClientCredentials { scope, audience } => Form::default()
                .with("grant_type", "client_credentials")
                .with("scope", scope.to_string())
                .with("audience", audience.unwrap_or_default()),
        }
    }

    /// Returns what an `invalid_grant` would be about.
    pub(crate) fn presented(self) -> Presented {
        match self {
            Self::RefreshToken { .. } => Presented::RefreshToken,
            Self::DeviceCode(_) => Presented::DeviceCode,
            Self::ClientCredentials { .. } => Presented::ClientAlone,
        }
    }
}

/// Asks for tokens, once. `asked` is the scope that is granted where the answer names none (RFC 6749 §5.1).
pub(crate) async fn exchange(
    request: &Request<'_>,
    exchange: Exchange<'_>,
    asked: &Scope,
) -> Result<TokenSet, Error> {
    let origin = request.endpoint.origin();
    request.post(exchange.form(), |answer| tokens(answer, origin, asked, request.started)).await
}

/// RFC 6749 §5.1.
#[derive(Deserialize)]
struct TokenMembers<'a> {
    #[serde(borrow)]
    access_token: Member<'a>,
    #[serde(borrow)]
    token_type: Member<'a>,
    #[serde(borrow)]
    expires_in: Member<'a>,
    #[serde(borrow)]
    refresh_token: Member<'a>,
    #[serde(borrow)]
    scope: Member<'a>,
}

fn tokens(answer: &Answer, origin: String, asked: &Scope, started: Now) -> Result<TokenSet, Kind> {
    let members: TokenMembers<'_> = answer.members()?;
    let access =
        json::secret(members.access_token).ok_or_else(|| answer.unusable("it has no access_token"))?;
    match json::text(members.token_type) {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(kind) => return Err(answer.unusable(&format!("its token_type is {kind:?}, not Bearer"))),
        None => return Err(answer.unusable("it has no token_type")),
    }
    let expires_at = expiry(&members, &access, started);
    if expires_at.is_none() {
        tracing::warn!(%origin, "the issuer does not tell how long its tokens live");
    }
    let refresh = json::secret(members.refresh_token);
    if refresh.is_none() && members.refresh_token.is_some() {
        tracing::warn!(%origin, "the refresh_token of the answer is not a text and is passed over");
    }
    let scope = json::text(members.scope).map_or_else(|| asked.clone(), |scope| Scope::parse(&scope));
    let access = AccessToken::new(access, started.moment, expires_at)
        .map_err(|invalid| answer.unusable(&invalid.to_string()))?;
    let refresh = refresh.map(|secret| RefreshToken { secret, origin });
    Ok(TokenSet { refresh, scope, ..TokenSet::of(access) })
}

/// Returns when the access token expires, as far as anybody says.
fn expiry(members: &TokenMembers<'_>, access: &SecretString, started: Now) -> Option<Moment> {
    if let Some(life) = json::duration(members.expires_in, LONGEST_LIFE) {
        return Some(started.moment.after(life));
    }
    // A token cannot be expired when it is issued: then the wall clock is wrong, and no hint at all.
    let expiry = started.moment_at(jwt::expiry(access.expose_secret())?);
    (expiry > started.moment).then(|| expiry.min(started.moment.after(LONGEST_LIFE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::client_auth::{Credentials, Proof};
    use crate::oauth::http::Http;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::token::failure::Failure;
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    fn read(body: &str) -> Result<TokenSet, Kind> {
        let now = Clock::following_tokio().now();
        tokens(&Answer::plain(200, body), "https://i".to_owned(), &Scope::parse("asked"), now)
    }

    fn with(members: &str) -> String {
        format!(r#"{{"access_token":"AT","token_type":"Bearer"{members}}}"#)
    }

    fn life(members: &str) -> Option<Duration> {
        read(&with(members)).unwrap().access.lifetime()
    }

    #[test]
    fn the_token_type_is_bearer_in_any_case_6749_2() {
        for kind in ["bearer", "Bearer", "BEARER"] {
            assert!(read(&format!(r#"{{"access_token":"AT","token_type":"{kind}"}}"#)).is_ok(), "{kind}");
        }
        for members in [r#""token_type":"DPoP""#, r#""token_type":"mac""#, r#""token_type":1"#, r#""x":1"#] {
            let kind = read(&format!(r#"{{"access_token":"AT",{members}}}"#)).unwrap_err();
            assert!(matches!(kind, Kind::Malformed { .. }), "{members}: {kind}");
        }
    }

    #[test]
    fn unknown_members_and_large_tokens_pass_6749_3() {
        let token = "t".repeat(48 * 1024);
        let noise = "n".repeat(10 * 1024);
        let body = format!(
            r#"{{"x":"{noise}","y":{{"z":[1e400]}},"x":1,"token_type":"bearer","access_token":"{token}"}}"#
        );
        assert_eq!(read(&body).unwrap().access.secret().expose_secret(), token);
    }

    #[test]
    fn a_lifetime_is_counted_from_the_request_whatever_its_form_6749_4() {
        for (value, expected) in [
            ("3600", Some(Duration::from_secs(3600))),
            (r#""3600""#, Some(Duration::from_secs(3600))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("0", Some(Duration::ZERO)),
            ("-1", Some(Duration::ZERO)),
            ("1e400", Some(LONGEST_LIFE)),
            ("9223372036854775808", Some(LONGEST_LIFE)),
            ("null", None),
            (r#""soon""#, None),
            ("{}", None),
        ] {
            assert_eq!(life(&format!(r#","expires_in":{value}"#)), expected, "{value}");
        }
        assert_eq!(life(""), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jwt_hints_at_the_lifetime_that_the_issuer_does_not_tell() {
        let wall = Clock::following_tokio().now().wall.as_second();
        let life = |exp: i64, members: &str| {
            let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
            let body = format!(r#"{{"access_token":"e.{claims}.s","token_type":"bearer"{members}}}"#);
            read(&body).unwrap().access.lifetime()
        };
        assert_eq!(life(wall + 600, ""), Some(Duration::from_secs(600)));
        assert_eq!(life(wall + 600, r#","expires_in":60"#), Some(Duration::from_secs(60)));
        assert_eq!(life(i64::MAX, ""), Some(LONGEST_LIFE));
        // By a clock that is wrong by years every new token has expired already.
        assert_eq!(life(wall - 600, ""), None);
    }

    #[test]
    fn the_scope_is_what_was_asked_for_unless_the_answer_says_otherwise_6749_5() {
        for (members, expected) in [
            ("", "asked"),
            (r#","scope":"b a""#, "a b"),
            (r#","scope":"asked and more""#, "and asked more"),
            (r#","scope":null"#, "asked"),
            (r#","scope":"""#, "asked"),
            (r#","scope":["a"]"#, "asked"),
        ] {
            assert_eq!(read(&with(members)).unwrap().scope.to_string(), expected, "{members}");
        }
    }

    #[test]
    fn a_refresh_token_is_a_text_and_bound_to_where_it_came_from_6749_6() {
        let refresh = read(&with(r#","refresh_token":"RT""#)).unwrap().refresh.unwrap();
        assert_eq!((refresh.secret.expose_secret(), refresh.origin.as_str()), ("RT", "https://i"));
        for absent in ["", r#","refresh_token":null"#, r#","refresh_token":"""#, r#","refresh_token":7"#] {
            assert!(read(&with(absent)).unwrap().refresh.is_none(), "{absent}");
        }
    }

    #[test]
    fn what_is_no_token_answer_is_refused() {
        for body in [
            "",
            "[]",
            r#"[{"access_token":"AT","token_type":"bearer"}]"#,
            r#"{"token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":null,"token_type":"bearer"}"#,
            r#"{"access_token":["AT"],"token_type":"bearer"}"#,
            r#"{"access_token":"A T","token_type":"bearer"}"#,
            r#"{"access_token":"AT\r\nX: y","token_type":"bearer"}"#,
            r#"{"access_token":"AT","access_token":"AT","token_type":"bearer"}"#,
            r#"{"access_token":"AT","token_type":"bearer","refresh_token":"a","refresh_token":"b"}"#,
            r#"{"access_token":"AT","token_type":"bearer""#,
            "access_token=AT&token_type=bearer",
        ] {
            let kind = read(body).unwrap_err();
            assert!(matches!(kind, Kind::Malformed { .. }), "{body}: {kind}");
            assert!(!kind.to_string().contains("AT"), "{kind}");
        }
    }

    #[test]
    fn an_error_that_comes_as_a_success_is_that_error() {
        let kind = read(r#"{"error":"authorization_pending"}"#).unwrap_err();
        assert!(matches!(kind, Kind::OAuth { .. }), "{kind}");
    }

    async fn exchanged(server: &ScriptedServer, proof: Proof, what: Exchange<'_>) -> Result<TokenSet, Error> {
        let (http, endpoint) = (Http::new().unwrap(), server.endpoint("/token"));
        let credentials = Credentials { client_id: "cli".to_owned(), proof };
        let started = Clock::system().now();
        let request = Request { http: &http, endpoint: &endpoint, credentials: &credentials, started };
        exchange(&request, what, &Scope::parse("asked")).await
    }

    #[tokio::test]
    async fn each_grant_sends_exactly_its_parameters() {
        let server = ScriptedServer::answering([json(200, &with(""))]).await;
        let refresh = RefreshToken { secret: "RT".into(), origin: server.issuer() };
        let code = "DC".into();
        let scope = Scope::parse("offline all");
        let client = Exchange::ClientCredentials { scope: &scope, audience: Some("https://api") };
        let nothing_asked = Scope::default();
        let bare = Exchange::ClientCredentials { scope: &nothing_asked, audience: None };
        for (proof, what, expected) in [
            (
                Proof::None,
                Exchange::RefreshToken { refresh: &refresh, wanted: None },
                "grant_type=refresh_token&refresh_token=RT&client_id=cli",
            ),
            (
                Proof::None,
                Exchange::DeviceCode(&code),
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=DC&client_id=cli",
            ),
            (
                Proof::Basic("s".into()),
                client,
                "grant_type=client_credentials&scope=all+offline&audience=https%3A%2F%2Fapi",
            ),
            (Proof::Post("s".into()), bare, "grant_type=client_credentials&client_id=cli&client_secret=s"),
        ] {
            exchanged(&server, proof, what).await.unwrap();
            let request = server.requests().pop().unwrap();
            assert_eq!(request.split_once("\r\n\r\n").unwrap().1, expected);
        }
    }

    #[tokio::test]
    async fn a_refusal_names_the_host_and_repeats_no_secret() {
        let body = r#"{"error":"invalid_grant","error_description":"CANARY-RT is used up, says CANARY-CS"}"#;
        let server = ScriptedServer::answering([json(400, body)]).await;
        let refresh = RefreshToken { secret: "CANARY-RT".into(), origin: server.issuer() };
        let what = Exchange::RefreshToken { refresh: &refresh, wanted: None };
        let error = exchanged(&server, Proof::Basic("CANARY-CS".into()), what).await.unwrap_err();
        let failure = error.classify(what.presented());
        assert!(matches!(failure, Failure::Refused { .. }), "{failure}");
        let host = server.issuer().replace("http://", "");
        assert_eq!(
            failure.to_string(),
            format!("{host} refused the refresh token: invalid_grant ([secret] is used up, says [secret])")
        );
    }
}
