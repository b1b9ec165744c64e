//! Token revocation (RFC 7009).
//!
//! The thing to get wrong: an issuer that does not know the token answers 200 as well, since the token is as dead as we
//! wanted it.

use secrecy::SecretString;

use crate::oauth::error::{Code, Error, Kind};
use crate::oauth::form::Form;
use crate::oauth::request::Request;
use crate::secret::LockedText;
use crate::token::TokenSet;

/// What is revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The refresh token, and with it the whole grant (RFC 7009 §2.1).
    RefreshToken(&'a LockedText),
    /// The access token alone.
    AccessToken(&'a SecretString),
}

impl<'a> Subject<'a> {
    /// Returns what takes the most back.
    pub(crate) fn of(tokens: &'a TokenSet) -> Self {
        match &tokens.refresh {
            Some(refresh) => Self::RefreshToken(&refresh.secret),
            None => Self::AccessToken(tokens.access.secret()),
        }
    }

    fn form(self) -> Form {
        match self {
            Self::RefreshToken(token) => {
                Form::default().with_secret("token", token).with("token_type_hint", "refresh_token")
            }
            Self::AccessToken(token) => {
                Form::default().with_secret("token", token).with("token_type_hint", "access_token")
            }
        }
    }
}

/// What the endpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It took the token back, or did not know it.
    Revoked,
    /// It does not revoke tokens of this type (RFC 7009 §2.2.1).
    Unsupported,
}

/// Asks the issuer to take a token back, once.
pub(crate) async fn revoke(request: &Request<'_>, subject: Subject<'_>) -> Result<Answered, Error> {
    request
        .post(subject.form(), |answer| {
            if answer.status.is_success() {
                return Ok(Answered::Revoked);
            }
            let failure = answer.failure();
            if let Kind::OAuth { refusal, .. } = &failure
                && refusal.code == Code::UnsupportedTokenType
            {
                return Ok(Answered::Unsupported);
            }
            Err(failure)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::client_auth::{Credentials, Proof};
    use crate::oauth::error::Presented;
    use crate::oauth::http::Http;
    use crate::oauth::scripted_server::{ScriptedServer, answer, json};
    use crate::token::failure::Failure;
    use crate::token::{AccessToken, RefreshToken};

    fn tokens(refresh: Option<&str>) -> TokenSet {
        let access = AccessToken::new("AT".into(), Clock::system().now().moment, None).unwrap();
        let refresh = refresh.map(|text| RefreshToken::new(text.into(), "https://i".to_owned()));
        TokenSet { refresh, ..TokenSet::of(access) }
    }

    async fn revoked(server: &ScriptedServer, tokens: &TokenSet) -> Result<Answered, Error> {
        let (http, endpoint) = (Http::new().unwrap(), server.endpoint("/revoke"));
        let credentials = Credentials { client_id: "cli".to_owned(), proof: Proof::None };
        let started = Clock::system().now();
        let request =
            Request { http: &http, endpoint: &endpoint, credentials: &credentials, started, proof_key: None };
        revoke(&request, Subject::of(tokens)).await
    }

    #[tokio::test]
    async fn the_refresh_token_is_revoked_where_there_is_one_7009_3() {
        let server = ScriptedServer::answering([answer(200, "", "")]).await;
        for (tokens, expected) in [
            (tokens(Some("RT")), "token=RT&token_type_hint=refresh_token&client_id=cli"),
            (tokens(None), "token=AT&token_type_hint=access_token&client_id=cli"),
        ] {
            assert_eq!(revoked(&server, &tokens).await.unwrap(), Answered::Revoked);
            let request = server.requests().pop().unwrap();
            assert_eq!(request.split_once("\r\n\r\n").unwrap().1, expected);
        }
    }

    #[tokio::test]
    async fn a_token_that_is_dead_already_is_as_good_as_revoked_7009_1() {
        // An issuer says so for a token that it does not know as well, with a body or without one.
        for body in ["", "{}", "<html>", "null"] {
            let server = ScriptedServer::answering([answer(200, "", body)]).await;
            assert_eq!(revoked(&server, &tokens(Some("DEAD"))).await.unwrap(), Answered::Revoked);
        }
    }

    #[tokio::test]
    async fn an_issuer_in_trouble_still_has_the_token_7009_2() {
        let server = ScriptedServer::answering([answer(503, "Retry-After: 30\r\n", "")]).await;
        let failure =
            revoked(&server, &tokens(Some("RT"))).await.unwrap_err().classify(Presented::ClientAlone);
        let Failure::Transient { retry_after, .. } = failure else { panic!("{failure}") };
        assert_eq!(retry_after, Some(std::time::Duration::from_secs(30)));
    }

    #[tokio::test]
    async fn an_issuer_may_not_revoke_tokens_of_a_type() {
        let server = ScriptedServer::answering([json(400, r#"{"error":"unsupported_token_type"}"#)]).await;
        assert_eq!(revoked(&server, &tokens(None)).await.unwrap(), Answered::Unsupported);
    }
}
