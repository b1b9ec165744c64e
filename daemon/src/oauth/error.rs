//! What can go wrong between us and the issuer, and what that means for an account.
//!
//! An [`Error`] is facts alone; [`Error::classify`] is the one place that draws conclusions from them. The thing to get
//! wrong: a login ends by a well-formed `invalid_grant` and by nothing else. Everything unknown is transient.

mod code;

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

pub(crate) use crate::oauth::error::code::Code;

use crate::token::failure::Failure;

/// Why a request to the issuer brought nothing usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{host} {kind}")]
pub(crate) struct Error {
    /// Whom we asked.
    pub(crate) host: String,
    /// What happened.
    pub(crate) kind: Kind,
}

/// What happened to a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Kind {
    /// No answer, or not the whole of one.
    #[error("{sent}: {cause}")]
    Transport {
        /// Whether the request can have reached the issuer.
        sent: Sent,
        /// What the network said.
        cause: String,
    },
    /// Nothing was tried: the settings name a way there that cannot be used.
    #[error("is not asked: {reason}")]
    Unusable {
        /// What is wrong with them.
        reason: String,
    },
    /// A redirect, which is never followed: what we send is meant for one origin.
    #[error(
        "answered with a redirect ({status}) to {target}, which is never followed: the endpoint has moved, or a proxy \
         or captive portal is in the way"
    )]
    Redirect {
        /// The status.
        status: StatusCode,
        /// Where to.
        target: String,
    },
    /// A page for people.
    #[error("answered with an HTML page ({}): a proxy or captive portal may be in the way", status.as_u16())]
    Html {
        /// The status.
        status: StatusCode,
    },
    /// An error status, and no OAuth error with it.
    #[error("answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
        /// How long we are asked to wait.
        retry_after: Option<Duration>,
    },
    /// An OAuth error (RFC 6749 §5.2).
    #[error("answered {refusal}")]
    OAuth {
        /// The status.
        status: StatusCode,
        /// The error.
        refusal: Refusal,
        /// How long we are asked to wait.
        retry_after: Option<Duration>,
    },
    /// A success whose access token is bound to a key (RFC 9449 §5): tools send it alone, without a proof.
    #[error(
        "gave an access token that is bound to a key (token_type DPoP), which tools cannot use: {remedy}"
    )]
    KeyBound {
        /// What helps.
        remedy: &'static str,
    },
    /// An answer that says it is a success, and is none.
    #[error("gave an answer that is not usable: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a request can have reached the issuer, and so have spent what it carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// No byte of it left: there was no connection.
    No,
    /// It may have.
    Maybe,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "could not be reached",
            Self::Maybe => "was asked but its answer did not arrive",
        })
    }
}

/// The members of an OAuth error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `error`.
    pub(crate) code: Code,
    /// `error_description`.
    pub(crate) description: Option<String>,
    /// `error_uri`.
    pub(crate) uri: Option<String>,
}

impl Refusal {
    /// Decides what it means in a redirect, where no status comes with it (RFC 6749 §4.1.2.1).
    pub(crate) fn in_redirect(&self, host: &str) -> Failure {
        match &self.code {
            Code::AccessDenied => {
                Failure::Refused { message: format!("the login was denied in the browser: {self}").into() }
            }
            Code::ServerError | Code::TemporarilyUnavailable => {
                Failure::transient(format!("{host} answered {self}"))
            }
            Code::InvalidScope => {
                Failure::misconfigured(format!("{host} does not grant this scope: check scopes: {self}"))
            }
            Code::InvalidTarget => Failure::misconfigured(format!(
                "{host} gives no tokens for this resource: check resources and audience: {self}"
            )),
            Code::InvalidRequest
            | Code::InvalidClient
            | Code::UnauthorizedClient
            | Code::UnsupportedGrantType
            | Code::UnsupportedResponseType => Failure::misconfigured(format!(
                "{host} does not accept the request: check the account, and the client's registration: {self}"
            )),
            Code::InvalidGrant
            | Code::AuthorizationPending
            | Code::SlowDown
            | Code::ExpiredToken
            | Code::UnsupportedTokenType
            | Code::UseDpopNonce
            | Code::InvalidDpopProof
            | Code::Other(_) => {
                Failure::Refused { message: format!("{host} refused the login: {self}").into() }
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.as_str())?;
        match (&self.description, &self.uri) {
            (Some(description), Some(uri)) => write!(f, " ({description}; see {uri})"),
            (Some(text), None) => write!(f, " ({text})"),
            (None, Some(uri)) => write!(f, " (see {uri})"),
            (None, None) => Ok(()),
        }
    }
}

/// What a request put before the issuer beside the client itself: what an `invalid_grant` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// A refresh token.
    RefreshToken,
    /// A device code.
    DeviceCode,
    /// An authorization code.
    AuthorizationCode,
    /// Nothing else.
    ClientAlone,
}

impl Kind {
    /// Returns the same fact without secrets of ours that the issuer quotes back at us.
    #[must_use]
    pub(crate) fn without<'a>(mut self, secrets: impl Iterator<Item = &'a str>) -> Self {
        if let Self::OAuth { refusal, .. } = &mut self {
            let code = refusal.code.as_str().to_owned();
            let mut texts = [Some(code), refusal.description.take(), refusal.uri.take()];
            for secret in secrets.filter(|text| text.len() >= SHORTEST_REDACTED) {
                for text in texts.iter_mut().flatten() {
                    *text = text.replace(secret, "[secret]");
                }
            }
            let [code, description, uri] = texts;
            *refusal = Refusal { code: code.unwrap_or_default().into(), description, uri };
        }
        self
    }
}

/// A shorter text protects nothing, and taking it out would make riddles of the issuer's words.
const SHORTEST_REDACTED: usize = 6;

impl Error {
    /// Decides what the account should do about it.
    pub(crate) fn classify(&self, presented: Presented) -> Failure {
        match &self.kind {
            Kind::Transport { sent: Sent::Maybe, .. } | Kind::Malformed { .. } => self.unanswered(presented),
            Kind::Transport { sent: Sent::No, .. } | Kind::Redirect { .. } | Kind::Html { .. } => {
                Failure::transient(self.to_string())
            }
            Kind::Unusable { .. } => Failure::misconfigured(self.to_string()),
            Kind::KeyBound { .. } => match presented {
                // The token in hand may outlive this, and what ends a login is a refusal alone.
                Presented::RefreshToken => Failure::transient(self.to_string()),
                Presented::DeviceCode | Presented::AuthorizationCode | Presented::ClientAlone => {
                    Failure::misconfigured(self.to_string())
                }
            },
            Kind::Status { status, retry_after } if may_be_of_another(*status, *retry_after) => {
                self.unanswered(presented)
            }
            Kind::Status { status, retry_after } => self.by_status(*status, *retry_after),
            Kind::OAuth { status, refusal, retry_after } => {
                if decides_alone(*status) {
                    return self.by_status(*status, *retry_after);
                }
                self.by_code(*status, refusal, presented)
            }
        }
    }

    /// Nobody knows whether the issuer did what it was asked for.
    fn unanswered(&self, presented: Presented) -> Failure {
        match presented {
            Presented::RefreshToken => Failure::Ambiguous { message: self.to_string().into() },
            // A code is not presented again whatever came of it, and nothing else can be spent.
            Presented::DeviceCode | Presented::AuthorizationCode | Presented::ClientAlone => {
                Failure::transient(self.to_string())
            }
        }
    }

    fn by_status(&self, status: StatusCode, retry_after: Option<Duration>) -> Failure {
        match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Failure::misconfigured(format!("{self}: check the endpoint's address"))
            }
            _ => Failure::Transient { message: self.to_string().into(), retry_after },
        }
    }

    fn by_code(&self, status: StatusCode, refusal: &Refusal, presented: Presented) -> Failure {
        let host = &self.host;
        match (&refusal.code, presented) {
            // RFC 6749 wants 400; issuers in the field send 401 and 403 as well. A success or a redirect is no refusal.
            (Code::InvalidGrant, Presented::RefreshToken) if status.is_client_error() => {
                Failure::Refused { message: format!("{host} refused the refresh token: {refusal}").into() }
            }
            (Code::InvalidGrant, Presented::DeviceCode) if status.is_client_error() => {
                Failure::Refused { message: format!("{host} refused the device code: {refusal}").into() }
            }
            // A code is good for one exchange: there is no other way on than another login.
            (Code::InvalidGrant, Presented::AuthorizationCode) if status.is_client_error() => {
                Failure::Refused {
                    message: format!("{host} refused the authorization code: {refusal}").into(),
                }
            }
            (Code::AccessDenied, Presented::DeviceCode) => Failure::Refused {
                message: format!("the login was denied on the other device: {refusal}").into(),
            },
            (Code::ExpiredToken, Presented::DeviceCode) => Failure::Refused {
                message: format!("the code expired before the login was approved: {refusal}").into(),
            },
            (Code::InvalidClient, _) => Failure::misconfigured(format!(
                "{host} does not accept the client: check client_id and client_secret: {refusal}"
            )),
            (Code::UnauthorizedClient | Code::UnsupportedGrantType, _) => Failure::misconfigured(format!(
                "{host} does not give this client this grant: check grant, and the client's registration: {refusal}"
            )),
            (Code::InvalidScope, _) => {
                Failure::misconfigured(format!("{host} does not grant this scope: check scopes: {refusal}"))
            }
            (Code::InvalidRequest, _) => Failure::misconfigured(format!(
                "{host} does not accept the request: check the account: {refusal}"
            )),
            (Code::InvalidTarget, _) => Failure::misconfigured(format!(
                "{host} gives no tokens for this resource: check resources and audience: {refusal}"
            )),
            (
                Code::InvalidGrant
                | Code::AccessDenied
                | Code::ExpiredToken
                | Code::AuthorizationPending
                | Code::SlowDown
                | Code::UnsupportedTokenType
                | Code::UnsupportedResponseType
                | Code::ServerError
                | Code::TemporarilyUnavailable
                | Code::UseDpopNonce
                | Code::InvalidDpopProof
                | Code::Other(_),
                _,
            ) => Failure::transient(self.to_string()),
        }
    }
}

/// Tells whether an answer without an OAuth error may come from something that stands between, and that does not know what
/// the issuer did. A network that wants a login of its own (511) let nothing through, and who is in trouble (500) or busy
/// (503) and says for how long did nothing. A gateway says so too, of an issuer that did not answer it in time.
fn may_be_of_another(status: StatusCode, retry_after: Option<Duration>) -> bool {
    match status {
        StatusCode::NETWORK_AUTHENTICATION_REQUIRED => false,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => retry_after.is_none(),
        status => status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT,
    }
}

/// Tells whether a status says enough by itself, whatever the body says: no such endpoint, too many requests, or the
/// issuer is in trouble.
pub(crate) fn decides_alone(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::answer::Answer;

    fn classified(answer: &Answer, presented: Presented) -> Failure {
        let kind = if answer.status.is_success() { answer.unusable("it is odd") } else { answer.failure() };
        Error { host: "login.example.com".to_owned(), kind }.classify(presented)
    }

    fn of_refresh(status: u16, body: &str) -> Failure {
        classified(&Answer::plain(status, body), Presented::RefreshToken)
    }

    fn oauth(code: &str) -> String {
        format!(r#"{{"error":"{code}","error_description":"token expired"}}"#)
    }

    fn ends_the_login(failure: &Failure) -> bool {
        match failure {
            Failure::Refused { .. } | Failure::LoginRequired => true,
            Failure::Transient { .. } | Failure::Ambiguous { .. } | Failure::Misconfigured { .. } => false,
        }
    }

    #[test]
    fn only_invalid_grant_in_json_ends_a_login_6749_8_i6() {
        let codes = [
            ("invalid_grant", "refused"),
            ("invalid_client", "misconfigured"),
            ("unauthorized_client", "misconfigured"),
            ("unsupported_grant_type", "misconfigured"),
            ("invalid_scope", "misconfigured"),
            ("invalid_request", "misconfigured"),
        ];
        let mut cases = 0;
        for status in [400, 401, 403] {
            for (code, expected) in codes {
                let html = format!("<html><body>{}</body></html>", oauth(code));
                let cut = &oauth(code)[..20];
                let bodies =
                    [html.as_str(), "", code, cut, &format!("error={code}"), &format!("[{}]", oauth(code))];
                for body in bodies {
                    cases += 1;
                    let failure = of_refresh(status, body);
                    assert!(matches!(failure, Failure::Transient { .. }), "{status} {body}: {failure}");
                }
                let failure = of_refresh(status, &oauth(code));
                let found = match failure {
                    Failure::Refused { .. } => "refused",
                    Failure::Misconfigured { .. } => "misconfigured",
                    Failure::Transient { .. } => "transient",
                    Failure::Ambiguous { .. } => "ambiguous",
                    Failure::LoginRequired => "login required",
                };
                cases += 1;
                assert_eq!(found, expected, "{status} {code}");
            }
        }
        assert_eq!(cases, 126);
    }

    #[test]
    fn an_invalid_grant_on_any_other_status_ends_nothing() {
        for status in [200, 201, 301, 302, 307, 404, 405, 408, 429, 500, 502, 503, 504, 511] {
            let failure = of_refresh(status, &oauth("invalid_grant"));
            assert!(!ends_the_login(&failure), "{status}: {failure}");
        }
    }

    #[test]
    fn an_ill_formed_invalid_grant_ends_nothing() {
        for body in [
            "\u{feff}{\"error\":\"invalid_grant\"}",
            r#"{"error":"invalid_grant""#,
            r#"{"error":"invalid_grant","error":"invalid_grant"}"#,
            r#"{"error":["invalid_grant"]}"#,
            r#"{"error":{"code":"invalid_grant"}}"#,
            r#"{"error":"INVALID_GRANT"}"#,
            r#"{"error":" invalid_grant"}"#,
            r#"{"message":"invalid_grant"}"#,
            r#""invalid_grant""#,
        ] {
            assert!(!ends_the_login(&of_refresh(400, body)), "{body}");
        }
    }

    #[test]
    fn unknown_trouble_is_transient() {
        let pages = "<!DOCTYPE html><title>Sign in to the Wi-Fi</title>";
        let bodies = [
            "",
            pages,
            "null",
            "{}",
            r#"{"error":"flux"}"#,
            r#"{"error":"access_denied"}"#,
            r#"{"detail":"nope"}"#,
        ];
        for status in
            [200, 202, 301, 302, 303, 307, 308, 400, 401, 402, 403, 406, 407, 408, 409, 410, 413, 418]
        {
            for body in bodies {
                let failure = of_refresh(status, body);
                assert!(!ends_the_login(&failure), "{status} {body}: {failure}");
                assert!(!matches!(failure, Failure::Misconfigured { .. }), "{status} {body}: {failure}");
            }
        }
        for status in [429, 500, 501, 502, 503, 504, 511, 520, 599] {
            for code in
                ["invalid_grant", "invalid_client", "server_error", "temporarily_unavailable", "slow_down"]
            {
                let failure = of_refresh(status, &oauth(code));
                assert!(matches!(failure, Failure::Transient { .. }), "{status} {code}: {failure}");
            }
        }
    }

    /// What an outcome says about the refresh token that was presented, by the classes of a renewal.
    fn class(failure: &Failure) -> &'static str {
        match failure {
            Failure::Transient { retry_after: Some(_), .. } => "throttled",
            Failure::Transient { retry_after: None, .. } => "not spent",
            Failure::Ambiguous { .. } => "perhaps spent",
            Failure::Refused { .. } => "dead",
            Failure::Misconfigured { .. } => "not spent, and no use in trying",
            Failure::LoginRequired => "none",
        }
    }

    #[test]
    fn a_request_that_never_left_spent_nothing() {
        for cause in ["Connection refused", "no such host", "the certificate has expired"] {
            let kind = Kind::Transport { sent: Sent::No, cause: cause.to_owned() };
            let error = Error { host: "h".to_owned(), kind };
            assert_eq!(class(&error.classify(Presented::RefreshToken)), "not spent", "{cause}");
        }
    }

    #[test]
    fn a_request_that_left_and_got_no_whole_answer_may_have_spent_its_token() {
        for cause in
            ["not within 15s", "Connection reset by peer", "end of file before message length reached"]
        {
            let kind = Kind::Transport { sent: Sent::Maybe, cause: cause.to_owned() };
            let error = Error { host: "h".to_owned(), kind };
            assert_eq!(class(&error.classify(Presented::RefreshToken)), "perhaps spent", "{cause}");
            // A code is not presented twice whatever happened, and there is nothing else to spend.
            assert_eq!(class(&error.classify(Presented::AuthorizationCode)), "not spent", "{cause}");
            assert_eq!(class(&error.classify(Presented::ClientAlone)), "not spent", "{cause}");
        }
    }

    #[test]
    fn an_intermediary_does_not_know_what_the_issuer_did() {
        for status in [408, 500, 502, 503, 504, 520, 599] {
            for body in ["", "Bad Gateway", "<html><h1>502</h1>", "{}"] {
                assert_eq!(class(&of_refresh(status, body)), "perhaps spent", "{status} {body}");
            }
            // A gateway that says when to ask again knows no more.
            let mut answer = Answer::plain(status, "");
            answer.retry_after = Some(Duration::from_secs(7));
            let expected = if matches!(status, 500 | 503) { "throttled" } else { "perhaps spent" };
            assert_eq!(class(&classified(&answer, Presented::RefreshToken)), expected, "{status}");
            // An OAuth error is the issuer's own word.
            assert_eq!(class(&of_refresh(status, &oauth("server_error"))), "not spent", "{status}");
        }
    }

    #[test]
    fn a_success_without_tokens_may_have_spent_the_token() {
        for body in ["", "OK", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":"#] {
            assert_eq!(class(&of_refresh(200, body)), "perhaps spent", "{body}");
        }
    }

    #[test]
    fn a_definite_refusal_kills_the_token() {
        for status in [400, 401, 403] {
            assert_eq!(class(&of_refresh(status, &oauth("invalid_grant"))), "dead", "{status}");
        }
    }

    #[test]
    fn what_the_settings_get_wrong_spends_nothing() {
        for code in ["invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"] {
            assert_eq!(class(&of_refresh(400, &oauth(code))), "not spent, and no use in trying", "{code}");
        }
        for status in [404, 405] {
            assert_eq!(class(&of_refresh(status, "")), "not spent, and no use in trying", "{status}");
        }
    }

    #[test]
    fn an_issuer_that_is_busy_spent_nothing() {
        assert_eq!(class(&of_refresh(429, "")), "not spent");
        for code in ["temporarily_unavailable", "slow_down"] {
            for status in [400, 429, 503] {
                assert_eq!(class(&of_refresh(status, &oauth(code))), "not spent", "{status} {code}");
            }
        }
        for status in [429, 500, 503] {
            let mut answer = Answer::plain(status, "");
            answer.retry_after = Some(Duration::from_secs(7));
            assert_eq!(class(&classified(&answer, Presented::RefreshToken)), "throttled", "{status}");
        }
    }

    #[test]
    fn what_is_not_the_issuer_at_all_spends_nothing() {
        let portal = "<!DOCTYPE html><title>Sign in to the Wi-Fi</title>";
        for (status, body) in [
            (301, ""),
            (302, ""),
            (303, ""),
            (307, ""),
            (308, ""),
            (200, portal),
            (403, portal),
            (511, portal),
            (511, ""),
        ] {
            assert_eq!(class(&of_refresh(status, body)), "not spent", "{status} {body}");
        }
    }

    #[test]
    fn an_address_without_an_endpoint_is_a_mistake_in_the_settings() {
        for status in [404, 405] {
            for body in ["", "<html>", "404 page not found", &oauth("invalid_grant")] {
                let failure = of_refresh(status, body);
                assert!(matches!(failure, Failure::Misconfigured { .. }), "{status} {body}: {failure}");
            }
        }
    }

    #[test]
    fn an_issuer_in_trouble_says_how_long_to_wait() {
        for body in ["", "<html>", r#"{"error":"temporarily_unavailable"}"#] {
            for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
                let mut answer = Answer::plain(status.as_u16(), body);
                answer.retry_after = Some(Duration::from_secs(7));
                let failure = classified(&answer, Presented::RefreshToken);
                let Failure::Transient { retry_after, .. } = failure else { panic!("{failure}") };
                assert_eq!(retry_after, Some(Duration::from_secs(7)));
            }
        }
    }

    #[test]
    fn a_refused_device_code_ends_the_login_but_a_refused_client_ends_none() {
        for code in ["invalid_grant", "access_denied", "expired_token"] {
            let answer = Answer::plain(400, &oauth(code));
            assert!(ends_the_login(&classified(&answer, Presented::DeviceCode)), "{code}");
            assert!(!ends_the_login(&classified(&answer, Presented::ClientAlone)), "{code}");
        }
    }

    #[test]
    fn a_message_names_the_host_and_what_it_said_d6() {
        for (status, body, expected) in [
            (
                400,
                oauth("invalid_grant"),
                "login.example.com refused the refresh token: invalid_grant (token expired)",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"ended by admin","error_uri":"https://h/e7"}"#
                    .to_owned(),
                "login.example.com refused the refresh token: invalid_grant (ended by admin; see https://h/e7)",
            ),
            (
                401,
                oauth("invalid_client"),
                "login.example.com does not accept the client: check client_id and client_secret: \
                 invalid_client (token expired)",
            ),
            (
                200,
                "<html>".to_owned(),
                "login.example.com answered with an HTML page (200): a proxy or captive portal may be in the way",
            ),
            (503, String::new(), "login.example.com answered 503 Service Unavailable"),
            (200, "OK".to_owned(), "login.example.com gave an answer that is not usable: it is odd"),
            (418, r#"{"error":"teapot"}"#.to_owned(), "login.example.com answered teapot"),
        ] {
            assert_eq!(of_refresh(status, &body).to_string(), expected);
        }
    }

    #[test]
    fn what_the_issuer_says_cannot_steer_a_terminal_6749_9() {
        let hostile =
            r#"{"error":"x\u001b[2J","error_description":"a\r\n\u202eb\u0000","error_uri":"\u009bh"}"#;
        let text = of_refresh(400, hostile).to_string();
        assert_eq!(text, "login.example.com answered x[2J (ab; see h)");
    }

    #[test]
    fn what_the_issuer_says_is_no_format_of_a_message_d9() {
        let hostile = "LEAK-%p-%s-%n-%x-{}-{0:?}-{host}-$HOME-\\n-END";
        let body =
            serde_json::json!({ "error": hostile, "error_description": hostile, "error_uri": hostile });
        let text = of_refresh(400, &body.to_string()).to_string();
        assert_eq!(text, format!("login.example.com answered {hostile} ({hostile}; see {hostile})"));
    }

    #[test]
    fn a_secret_that_the_issuer_quotes_back_is_not_repeated() {
        let body = r#"{"error":"invalid_grant","error_description":"no token CANARY-RT for CANARY-CS, or a",
            "error_uri":"https://h/?t=CANARY-RT"}"#;
        let secrets = ["CANARY-RT", "CANARY-CS", "a"];
        let kind = Answer::plain(400, body).failure().without(secrets.into_iter());
        let failure = Error { host: "h".to_owned(), kind }.classify(Presented::RefreshToken);
        assert_eq!(
            failure.to_string(),
            "h refused the refresh token: invalid_grant (no token [secret] for [secret], or a; see https://h/?t=[secret])"
        );
    }
}
