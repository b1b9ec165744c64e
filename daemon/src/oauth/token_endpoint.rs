//! The token endpoint (RFC 6749 §3.2): one POST for every grant, one reader for every answer.
//!
//! The reader is strict about what protects (the token's type and form, a member that comes twice) and lenient about
//! the rest. The thing to get wrong: a lifetime is counted from when the request was sent, never from its answer.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::clock::{Moment, Now};
use crate::oauth::answer::Answer;
use crate::oauth::authorization::Attempt;
use crate::oauth::error::{Error, Kind, Presented};
use crate::oauth::form::Form;
use crate::oauth::id_token::{self, Accepted, Expected};
use crate::oauth::json::{self, Member};
use crate::oauth::jwt;
use crate::oauth::request::Request;
use crate::oauth::{CodeExchange, ExtraParameters};
use crate::secret::LockedText;
use crate::token::answered::{self, Answered};
use crate::token::{AccessToken, ProofKey, RefreshToken, Scope, Target, TokenSet};

/// The longest life that we believe in: a longer one is a mistake, and is renewed before it matters.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is given for tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange<'a> {
    /// RFC 6749 §4.1.3. To be sent once, whatever comes of it: a code that comes twice may cost its tokens (§4.1.2).
    AuthorizationCode {
        /// The code.
        code: &'a SecretString,
        /// The login that it answers.
        attempt: &'a Attempt,
        /// What goes with it.
        sends: CodeExchange,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The refresh token.
        refresh: &'a RefreshToken,
        /// What is asked for, where it is not all that was granted: naming that again would change nothing, and issuers
        /// differ in what they make of it.
        wanted: Option<&'a Target>,
    },
    /// RFC 8628 §3.4.
    DeviceCode {
        /// The code.
        device_code: &'a SecretString,
        /// The key that the tokens are to be bound to.
        proof_key: Option<&'a ProofKey>,
    },
    /// RFC 6749 §4.4.
    ClientCredentials(&'a Target),
}

/// What an exchange goes by, whatever is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// What is granted where the answer does not say (RFC 6749 §5.1).
    pub(crate) scope: &'a Scope,
    /// The issuer identifier, where it is known: an ID token is from there.
    pub(crate) issuer: Option<&'a str>,
    /// What the account adds.
    pub(crate) extra: &'a ExtraParameters,
}

impl<'a> Exchange<'a> {
    fn form(self, extra: &ExtraParameters) -> Form {
        match self {
            Self::AuthorizationCode { code, attempt, sends } => {
                let form = Form::default()
                    .with("grant_type", "authorization_code")
                    .with_secret("code", code)
                    .with("redirect_uri", attempt.redirect_uri())
                    .with_secret("code_verifier", attempt.verifier());
                let form = match sends {
                    CodeExchange::Plain => form,
                    CodeExchange::Repeating => form.and(attempt.parameters()),
                };
                form.with_extra(&extra.token)
            }
            Self::RefreshToken { refresh, wanted } => {
                let form = Form::default()
                    .with("grant_type", "refresh_token")
                    .with_secret("refresh_token", &refresh.secret);
                let form = match wanted {
                    None => form,
                    Some(target) => form.asking_for(target),
                };
                form.with_extra(&extra.refresh)
            }
            Self::DeviceCode { device_code, .. } => Form::default()
                .with("grant_type", "urn:ietf:params:oauth:grant-type:device_code")
                .with_secret("device_code", device_code)
                .with_extra(&extra.token),
            Self::ClientCredentials(target) => Form::default()
                .with("grant_type", "client_credentials")
                .asking_for(target)
                .with_extra(&extra.token),
        }
    }

    /// Returns what an `invalid_grant` would be about.
    pub(crate) fn presented(self) -> Presented {
        match self {
            Self::AuthorizationCode { .. } => Presented::AuthorizationCode,
            Self::RefreshToken { .. } => Presented::RefreshToken,
            Self::DeviceCode { .. } => Presented::DeviceCode,
            Self::ClientCredentials(_) => Presented::ClientAlone,
        }
    }

    /// Returns what an ID token must repeat.
    fn nonce(self) -> Option<&'a SecretString> {
        match self {
            Self::AuthorizationCode { attempt, .. } => attempt.nonce(),
            Self::RefreshToken { .. } | Self::DeviceCode { .. } | Self::ClientCredentials(_) => None,
        }
    }

    /// Returns the key that the refresh token is bound to, or is to be (RFC 9449 §5).
    pub(crate) fn proof_key(self) -> Option<&'a ProofKey> {
        match self {
            Self::AuthorizationCode { attempt, .. } => attempt.proof_key(),
            Self::RefreshToken { refresh, .. } => refresh.proof_key.as_ref(),
            Self::DeviceCode { proof_key, .. } => proof_key,
            Self::ClientCredentials(_) => None,
        }
    }
}

/// Presents a refresh token, once, and returns the whole answer unread. `terms` says what it is to be read by.
pub(crate) async fn present(
    request: &Request<'_>,
    exchange: Exchange<'_>,
    extra: &ExtraParameters,
    terms: answered::Terms,
) -> Result<Answered, Error> {
    let request = Request { proof_key: exchange.proof_key(), ..*request };
    let answer = request.send(&exchange.form(extra)).await;
    answer
        .map(|answer| answer.into_answered(terms))
        .map_err(|kind| Error { host: request.endpoint.host(), kind })
}

/// The answer to a renewal brought no tokens that can be used.
#[derive(Debug)]
pub(crate) struct Unread {
    /// What is wrong with it.
    pub(crate) kind: Kind,
    /// The refresh token that it has all the same: the one that was presented may be spent.
    pub(crate) successor: Option<Box<RefreshToken>>,
}

/// Reads the answer to a renewal with a refresh token that was bound to this key, if to any. `now` says how the wall clock
/// and the boot clock go together.
pub(crate) fn read(answered: &Answered, proof_key: Option<&ProofKey>, now: Now) -> Result<TokenSet, Unread> {
    let terms = &answered.terms;
    let reader = Reader {
        origin: terms.origin.clone(),
        proof_key,
        asked: &terms.scope,
        expected: Expected { issuer: terms.issuer.as_deref(), client_id: &terms.client_id, nonce: None },
        started: Now { moment: terms.sent_at, wall: now.wall_at(terms.sent_at) },
    };
    let answer = Answer::of(answered);
    let tokens =
        reader.tokens(&answer).map_err(|kind| Unread { kind, successor: reader.successor(&answer) })?;
    Ok(TokenSet { header: terms.header.clone(), ..tokens })
}

/// Asks for tokens, once.
pub(crate) async fn exchange(
    request: &Request<'_>,
    exchange: Exchange<'_>,
    terms: Terms<'_>,
) -> Result<TokenSet, Error> {
    let client_id = &request.credentials.client_id;
    let expected = Expected { issuer: terms.issuer, client_id, nonce: exchange.nonce() };
    let request = Request { proof_key: exchange.proof_key(), ..*request };
    let reader = Reader {
        origin: request.endpoint.origin(),
        proof_key: request.proof_key,
        asked: terms.scope,
        expected,
        started: request.started,
    };
    request.post(exchange.form(terms.extra), |answer| reader.tokens(answer)).await
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
    id_token: Member<'a>,
    #[serde(borrow)]
    scope: Member<'a>,
}

/// What an answer is read by.
struct Reader<'a> {
    origin: String,
    /// What a refresh token in it is bound to: a successor to the key of the one before it.
    proof_key: Option<&'a ProofKey>,
    asked: &'a Scope,
    expected: Expected<'a>,
    started: Now,
}

impl Reader<'_> {
    fn tokens(&self, answer: &Answer) -> Result<TokenSet, Kind> {
        let (origin, started) = (&self.origin, self.started);
        let members: TokenMembers<'_> = answer.members()?;
        let access =
            json::secret(members.access_token).ok_or_else(|| answer.unusable("it has no access_token"))?;
        match json::text(members.token_type) {
            Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
            Some(kind) if kind.eq_ignore_ascii_case("dpop") => {
                return Err(Kind::KeyBound { remedy: "have the client registered for Bearer access tokens" });
            }
            Some(kind) => return Err(answer.unusable(&format!("its token_type is {kind:?}, not Bearer"))),
            None => return Err(answer.unusable("it has no token_type")),
        }
        let expires_at = expiry(&members, &access, started);
        if expires_at.is_none() {
            tracing::warn!(%origin, "the issuer does not tell how long its tokens live");
        }
        let refresh = json::locked(members.refresh_token);
        if refresh.is_none() && members.refresh_token.is_some() {
            tracing::warn!(%origin, "the refresh_token of the answer is not a text and is passed over");
        }
        let scope =
            json::text(members.scope).map_or_else(|| self.asked.clone(), |scope| Scope::parse(&scope));
        let access = AccessToken::new(access, started.moment, expires_at)
            .map_err(|invalid| answer.unusable(&invalid.to_string()))?;
        let accepted = self.id_token(&members, answer)?;
        let (id, subject) = accepted.map(|Accepted { token, subject }| (token, subject)).unzip();
        let refresh = refresh.map(|secret| self.refresh_token(secret));
        Ok(TokenSet { refresh, id, subject, scope, ..TokenSet::of(access) })
    }

    /// Returns the refresh token of a success that is of no use otherwise.
    fn successor(&self, answer: &Answer) -> Option<Box<RefreshToken>> {
        let members: TokenMembers<'_> = answer.members().ok()?;
        json::locked(members.refresh_token).map(|secret| Box::new(self.refresh_token(secret)))
    }

    fn refresh_token(&self, secret: LockedText) -> RefreshToken {
        let proof_key = self.proof_key.cloned();
        RefreshToken { proof_key, ..RefreshToken::new(secret, self.origin.clone()) }
    }

    /// Reads the ID token. A bad one ends the login that asked for it. Anywhere else it is passed over: the new refresh
    /// token beside it may be the only one that works.
    fn id_token(&self, members: &TokenMembers<'_>, answer: &Answer) -> Result<Option<Accepted>, Kind> {
        let Some(token) = json::secret(members.id_token) else { return Ok(None) };
        match id_token::accept(token, &self.expected, self.started) {
            Ok(accepted) => Ok(Some(accepted)),
            Err(invalid) if self.expected.nonce.is_some() => {
                Err(answer.unusable(&format!("its ID token {invalid}")))
            }
            Err(invalid) => {
                tracing::warn!(origin = %self.origin, %invalid, "the ID token of the answer is passed over");
                Ok(None)
            }
        }
    }
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
    use crate::oauth::authorization::Asked;
    use crate::oauth::client_auth::{Credentials, Proof};
    use crate::oauth::dpop;
    use crate::oauth::http::Http;
    use crate::oauth::scripted_server::{ScriptedServer, answer, json};
    use crate::token::failure::Failure;
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    fn read(body: &str) -> Result<TokenSet, Kind> {
        read_for(body, None)
    }

    fn read_for(body: &str, nonce: Option<&SecretString>) -> Result<TokenSet, Kind> {
        let reader = Reader {
            origin: "https://i".to_owned(),
            proof_key: None,
            asked: &Scope::parse("asked"),
            expected: Expected { issuer: Some("https://i"), client_id: "cli", nonce },
            started: Clock::following_tokio().now(),
        };
        reader.tokens(&Answer::plain(200, body))
    }

    /// Returns the answer to a renewal.
    fn answered(status: u16, body: impl Into<Vec<u8>>) -> Answered {
        Answered {
            status,
            retry_after: None,
            redirect: None,
            body: body.into().into(),
            terms: answered::Terms {
                sent_at: Clock::following_tokio().now().moment,
                purpose: answered::Purpose::Own,
                origin: "https://i".to_owned(),
                scope: Scope::default(),
                issuer: None,
                client_id: "cli".to_owned(),
                header: None,
            },
        }
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
        for kind in ["DPoP", "dpop", "DPOP"] {
            let kind = read(&format!(r#"{{"access_token":"AT","token_type":"{kind}"}}"#)).unwrap_err();
            assert!(matches!(kind, Kind::KeyBound { .. }), "{kind}");
        }
        for members in [r#""token_type":"mac""#, r#""token_type":"""#, r#""token_type":1"#, r#""x":1"#] {
            let kind = read(&format!(r#"{{"access_token":"AT",{members}}}"#)).unwrap_err();
            assert!(matches!(kind, Kind::Malformed { .. }), "{members}: {kind}");
        }
    }

    #[test]
    fn a_refresh_token_outlives_an_access_token_of_no_use_with_its_key_6749_2_9449_4() {
        let key = dpop::fresh_key().unwrap();
        let answered = |kind: &str, refresh: &str| {
            answered(200, format!(r#"{{"access_token":"AT",{kind}"x":1{refresh}}}"#))
        };
        let now = Clock::following_tokio().now();
        let successor = r#","refresh_token":"RT2""#;
        for kind in [r#""token_type":"DPoP","#, r#""token_type":"mac","#, ""] {
            for key in [None, Some(&key)] {
                let unread = super::read(&answered(kind, successor), key, now).unwrap_err();
                let kept = unread.successor.unwrap();
                assert_eq!(kept.secret.expose_secret(), "RT2", "{kind}");
                assert_eq!(
                    kept.proof_key.as_ref().map(ProofKey::expose_pkcs8),
                    key.map(ProofKey::expose_pkcs8)
                );
            }
            let unread = super::read(&answered(kind, ""), Some(&key), now).unwrap_err();
            assert!(unread.successor.is_none());
        }
        let tokens = super::read(&answered(r#""token_type":"Bearer","#, successor), Some(&key), now).unwrap();
        let inherited = tokens.refresh.unwrap().proof_key.unwrap();
        assert_eq!(inherited.expose_pkcs8(), key.expose_pkcs8());
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
    fn a_lifetime_is_counted_from_the_request_whatever_its_form_6749_4_s_10() {
        for (value, expected) in [
            ("3600", Some(Duration::from_secs(3600))),
            (r#""3600""#, Some(Duration::from_secs(3600))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("0", Some(Duration::ZERO)),
            ("-1", Some(Duration::ZERO)),
            ("-0.0", Some(Duration::ZERO)),
            ("1e-400", Some(Duration::ZERO)),
            ("-1e400", Some(Duration::ZERO)),
            ("-9223372036854775809", Some(Duration::ZERO)),
            ("1e400", Some(LONGEST_LIFE)),
            ("315360000", Some(LONGEST_LIFE)),
            ("315360001", Some(LONGEST_LIFE)),
            ("9223372036854775808", Some(LONGEST_LIFE)),
            ("18446744073709551616", Some(LONGEST_LIFE)),
            (r#""99999999999999999999999999999999""#, Some(LONGEST_LIFE)),
            ("true", None),
            ("[3600]", None),
            (r#""""#, None),
            (r#""NaN""#, None),
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

    /// What comes as a success from portals, proxies and broken servers.
    fn bad_successes() -> Vec<Vec<u8>> {
        let good = with(r#","refresh_token":"RT2""#);
        let utf16 = |order: fn(u16) -> [u8; 2]| good.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let deep = |open: &str| open.repeat(10_000);
        vec![
            b"".into(),
            b" \r\n".into(),
            b"\0".into(),
            PAGE.into(),
            b"<script>location='/login'</script>".into(),
            b"<!-- portal -->{}".into(),
            b"OK".into(),
            b"null".into(),
            b"true".into(),
            b"7".into(),
            b"\"invalid_grant\"".into(),
            b"[]".into(),
            format!("[{good}]").into(),
            b"{}".into(),
            b"{\"error\":null}".into(),
            b"{\"error\":7}".into(),
            b"{\"error\":[\"invalid_grant\"]}".into(),
            b"{\"error\":\"invalid_grant\"}".into(),
            b"{\"errors\":[{\"code\":\"invalid_grant\"}]}".into(),
            format!("\u{feff}{good}").into(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            [b"\xff\xfe", utf16(u16::to_le_bytes).as_slice()].concat(),
            [good.as_bytes(), b"\xff"].concat(),
            good.replace("AT", "A\u{fffd}T").into(),
            good[..good.len() - 1].into(),
            format!("{good}{good}").into(),
            format!("{good},").into(),
            format!(")]}}',\n{good}").into(),
            format!("data: {good}\n\n").into(),
            good.replace('"', "'").into(),
            deep("[").into(),
            deep("{\"a\":").into(),
            format!("{{\"access_token\":{}", deep("[")).into(),
            format!("{{\"access_token\":{}{}}}", deep("["), deep("]")).into(),
            good.replace(r#""AT""#, r#""AT","access_token":"AT""#).into(),
            good.replace(r#""Bearer""#, r#""Bearer","token_type":"Bearer""#).into(),
            good.replace(r#""RT2""#, r#""RT2","refresh_token":"RT3""#).into(),
            good.replace(r#""AT""#, r#""AT","\u0061ccess_token":"AT""#).into(),
            good.replace(r#""AT""#, "null").into(),
            good.replace(r#""AT""#, "{}").into(),
            good.replace("Bearer", "mac").into(),
            good.replace("Bearer", "").into(),
            good.replace("Bearer", "DPoP").into(),
            b"access_token=AT&token_type=bearer".into(),
            b"\x1f\x8b\x08\0\0\0\0\0".into(),
            b"\x16\x03\x01\x02\0\x01".into(),
            b"HTTP/1.1 200 OK\r\n\r\n{}".into(),
        ]
    }

    const PAGE: &str = "<!DOCTYPE html><html><body>invalid_grant {\"error\":\"invalid_grant\"}</body></html>";

    /// What comes as an error from firewalls and servers that are not asked.
    fn bad_errors() -> Vec<(u16, Vec<u8>)> {
        let errors = [
            (400, PAGE),
            (400, ""),
            (400, "invalid_grant"),
            (400, "[{\"error\":\"invalid_grant\"}]"),
            (400, "\u{feff}{\"error\":\"invalid_grant\"}"),
            (400, "{\"error\":\"invalid_grant\""),
            (400, "{\"error\":\"invalid_grant\",\"error\":\"invalid_grant\"}"),
            (401, PAGE),
            (403, PAGE),
            (404, PAGE),
            (404, "{\"error\":\"invalid_grant\"}"),
            (407, PAGE),
            (408, "{\"error\":\"invalid_grant\"}"),
            (410, PAGE),
            (421, PAGE),
            (429, "{\"error\":\"invalid_grant\"}"),
            (451, PAGE),
            (500, "{\"error\":\"invalid_grant\"}"),
            (502, PAGE),
            (503, "{\"error\":\"invalid_grant\"}"),
            (504, PAGE),
            (511, PAGE),
            (511, "{\"error\":\"invalid_grant\"}"),
            (302, "{\"error\":\"invalid_grant\"}"),
        ];
        errors.map(|(status, body)| (status, body.as_bytes().to_vec())).into()
    }

    #[test]
    fn no_bad_answer_ends_a_login_and_each_is_named_i5() {
        let successes = bad_successes().into_iter().map(|body| (200, body));
        let answers: Vec<_> = successes.chain(bad_errors()).collect();
        assert_eq!(answers.len(), 72);
        for (status, body) in answers {
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let unread =
                super::read(&answered(status, body), None, Clock::following_tokio().now()).unwrap_err();
            let failure = Error { host: "i".to_owned(), kind: unread.kind }.classify(Presented::RefreshToken);
            let is_kept = match &failure {
                Failure::Transient { .. } | Failure::Ambiguous { .. } | Failure::Misconfigured { .. } => true,
                Failure::Refused { .. } | Failure::LoginRequired => false,
            };
            assert!(is_kept, "{status} {shown}: {failure}");
            let told = failure.to_string();
            assert!(
                told.starts_with("i ") && !told.contains("RT") && !told.contains("AT"),
                "{shown}: {told}"
            );
        }
    }

    #[test]
    fn what_no_access_token_is_made_of_is_refused_and_not_repeated_i7() {
        let long = "A".repeat(1024 * 1024);
        for bad in [
            "",
            " ",
            "\r",
            "\n",
            "\r\n",
            "\0",
            "\t",
            "\u{7f}",
            "\u{9b}31m",
            "\u{202e}",
            "\u{feff}",
            "é",
            "🔑",
            "\"",
            "'",
            "`",
            "\\",
            "\u{1b}[2J",
            "\u{1b}]52;c;aWQ=\u{7}",
            "\r\nX-Evil: y",
            "\npassword=evil",
            "\n[default]",
            "\0evil",
        ] {
            for token in
                [bad.to_owned(), format!("CANARY{bad}"), format!("{bad}CANARY"), format!("CAN{bad}ARY")]
            {
                if bad.is_empty() && !token.is_empty() {
                    continue;
                }
                let body = serde_json::json!({ "access_token": token, "token_type": "bearer" }).to_string();
                let kind = read(&body).unwrap_err();
                assert!(matches!(kind, Kind::Malformed { .. }), "{token:?}: {kind}");
                assert!(!kind.to_string().contains("CANARY") && !kind.to_string().contains("evil"), "{kind}");
            }
        }
        // Where a whole answer has no more than that, such a token does not get here.
        assert!(with("").len() + long.len() > crate::oauth::http::LARGEST_SUCCESS);
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
        let request =
            Request { http: &http, endpoint: &endpoint, credentials: &credentials, started, proof_key: None };
        let extra = |name: &str| [(name.to_owned(), "x".to_owned())].into();
        let extra = ExtraParameters { authorization: extra("a"), token: extra("t"), refresh: extra("r") };
        let terms = Terms { scope: &Scope::parse("asked"), issuer: None, extra: &extra };
        exchange(&request, what, terms).await
    }

    fn attempt(server: &ScriptedServer) -> Attempt {
        let asked = Asked {
            endpoints: &server.endpoints(),
            client_id: "cli",
            redirect_uri: "http://localhost:53593/callback",
            target: &Target { scope: Scope::parse("all"), ..Target::default() },
            extra: &[("a".to_owned(), "x".to_owned())].into(),
            proof_key: None,
        };
        Attempt::new(asked).unwrap()
    }

    #[tokio::test]
    async fn the_date_of_an_answer_has_no_effect_on_a_lifetime_i12() {
        for date in [
            "Sun, 21 Nov 2027 12:00:00 GMT",
            "Fri, 21 Nov 2025 12:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "never",
        ] {
            let body = with(r#","expires_in":60"#);
            let server = ScriptedServer::answering([answer(200, &format!("Date: {date}\r\n"), &body)]).await;
            let before = Clock::system().now().moment;
            let code = "DC".into();
            let exchange = Exchange::DeviceCode { device_code: &code, proof_key: None };
            let tokens = exchanged(&server, Proof::None, exchange).await.unwrap();
            let access = tokens.access;
            assert_eq!(access.lifetime(), Some(Duration::from_secs(60)), "{date}");
            assert!(access.issued_at >= before && access.is_alive(Clock::system().now().moment), "{date}");
        }
    }

    #[tokio::test]
    async fn each_grant_sends_exactly_its_parameters_6749_1_9700_6() {
        let server = ScriptedServer::answering([json(200, &with(""))]).await;
        let refresh = RefreshToken::new("RT".into(), server.issuer());
        let code = "DC".into();
        let target = Target {
            scope: Scope::parse("offline all"),
            audience: Some("https://api".to_owned()),
            resources: ["b:1", "a:1"].map(str::to_owned).into(),
        };
        let bare = Target::default();
        let attempt = attempt(&server);
        let verifier = attempt.verifier().expose_secret();
        let challenge =
            attempt.url().query_pairs().find(|(name, _)| name == "code_challenge").unwrap().1.into_owned();
        let state = attempt.state();
        let plain = format!(
            "grant_type=authorization_code&code=DC&redirect_uri=http%3A%2F%2Flocalhost%3A53593%2Fcallback&\
             code_verifier={verifier}&t=x&client_id=cli"
        );
        let repeating = format!(
            "grant_type=authorization_code&code=DC&redirect_uri=http%3A%2F%2Flocalhost%3A53593%2Fcallback&\
             code_verifier={verifier}&response_type=code&scope=all&state={state}&code_challenge={challenge}&\
             code_challenge_method=S256&a=x&t=x&client_id=cli"
        );
        for (proof, what, expected) in [
            (
                Proof::None,
                Exchange::RefreshToken { refresh: &refresh, wanted: None },
                "grant_type=refresh_token&refresh_token=RT&r=x&client_id=cli",
            ),
            (
                Proof::None,
                Exchange::RefreshToken { refresh: &refresh, wanted: Some(&target) },
                "grant_type=refresh_token&refresh_token=RT&scope=all+offline&audience=https%3A%2F%2Fapi&\
                 resource=a%3A1&resource=b%3A1&r=x&client_id=cli",
            ),
            (
                Proof::None,
                Exchange::AuthorizationCode { code: &code, attempt: &attempt, sends: CodeExchange::Plain },
                &plain,
            ),
            (
                Proof::None,
                Exchange::AuthorizationCode {
                    code: &code,
                    attempt: &attempt,
                    sends: CodeExchange::Repeating,
                },
                &repeating,
            ),
            (
                Proof::None,
                Exchange::DeviceCode { device_code: &code, proof_key: None },
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=DC&t=x&client_id=cli",
            ),
            (
                Proof::Basic("s".into()),
                Exchange::ClientCredentials(&target),
                "grant_type=client_credentials&scope=all+offline&audience=https%3A%2F%2Fapi&resource=a%3A1&\
                 resource=b%3A1&t=x",
            ),
            (
                Proof::Post("s".into()),
                Exchange::ClientCredentials(&bare),
                "grant_type=client_credentials&t=x&client_id=cli&client_secret=s",
            ),
        ] {
            exchanged(&server, proof, what).await.unwrap();
            let request = server.requests().pop().unwrap();
            assert_eq!(request.split_once("\r\n\r\n").unwrap().1, expected);
        }
    }

    #[test]
    fn a_bad_id_token_ends_the_login_that_asked_for_it_and_nothing_else_oidc_1() {
        let exp = Clock::following_tokio().now().wall.as_second() + 60;
        let token = |nonce: &str| {
            let claims =
                format!(r#"{{"iss":"https://i","sub":"a","aud":"cli","exp":{exp},"nonce":"{nonce}"}}"#);
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            with(&format!(r#","refresh_token":"RT","id_token":"e.{claims}.s""#))
        };
        let nonce = "N".into();
        let tokens = read_for(&token("N"), Some(&nonce)).unwrap();
        assert_eq!(tokens.subject.unwrap().expose_secret(), "a");
        let id = tokens.id.unwrap();
        assert!(id.expires_at.is_some() && id.secret().expose_secret().starts_with("e."));
        let kind = read_for(&token("M"), Some(&nonce)).unwrap_err();
        assert_eq!(kind.to_string(), "gave an answer that is not usable: its ID token answers another login");
        assert!(read(&token("M")).unwrap().id.is_some());
        // Past the login the tokens beside it are worth more than it is.
        let bad = with(r#","refresh_token":"RT","id_token":"opaque""#);
        assert!(read_for(&bad, Some(&nonce)).is_err());
        let tokens = read(&bad).unwrap();
        assert!(tokens.id.is_none() && tokens.refresh.is_some());
        assert!(read_for(&with(""), Some(&nonce)).unwrap().id.is_none());
    }

    #[tokio::test]
    async fn a_refusal_names_the_host_and_repeats_no_secret() {
        let body = r#"{"error":"invalid_grant","error_description":"CANARY-RT is used up, says CANARY-CS"}"#;
        let server = ScriptedServer::answering([json(400, body)]).await;
        let refresh = RefreshToken::new("CANARY-RT".into(), server.issuer());
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
