//! The client credentials grant (RFC 6749 §4.4): the client obtains tokens in its own name, with nobody there.

use std::sync::Arc;

use secrecy::SecretString;

use crate::grant::issuer::Issuer;
use crate::grant::{Adoption, Attendance, Flow, Login, Pending, Renewal, Revoked, TokenSource, Wanted};
use crate::oauth::token_endpoint::Exchange;
use crate::token::failure::Failure;
use crate::token::{RefreshToken, TokenSet};

/// Obtains tokens by the client's own credentials.
#[derive(Debug)]
pub(crate) struct ClientCredentials(pub(crate) Arc<Issuer>);

impl TokenSource for ClientCredentials {
    fn attendance(&self) -> Attendance {
        Attendance::Unattended
    }

    /// Ignores a refresh token: none belongs to this grant (RFC 6749 §4.4.3).
    fn renew(&self, _: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move {
            let known = issuer.known().await?;
            let credentials = issuer.credentials(&known).await?;
            let wanted = known.completed(wanted);
            let exchange = Exchange::ClientCredentials(wanted.target(&known.target));
            let _turn = issuer.http.turn(&known.endpoints.token).await;
            let answered = issuer.exchange(&known, &credentials, exchange, &wanted).await;
            let tokens = answered.map_err(|error| error.classify(exchange.presented()))?;
            Ok(Renewal::Obtained(Box::new(TokenSet { refresh: None, ..tokens })))
        })
    }

    fn begin_login(&self, _: Flow) -> Pending<Result<Login, Failure>> {
        Box::pin(async {
            Err(Failure::misconfigured(
                "an account with grant = \"client_credentials\" needs no login: ask for a token",
            ))
        })
    }

    fn adopt(&self, _: SecretString) -> Adoption {
        Box::pin(async {
            Err(Failure::misconfigured(
                "an account with grant = \"client_credentials\" has no use for a refresh token",
            ))
        })
    }

    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>> {
        let issuer = Arc::clone(&self.0);
        Box::pin(async move { issuer.revoke(tokens).await })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::oauth::{ClientAuthentication, ClientSecret};

    const TOKENS: &str =
        r#"{"access_token":"AT","token_type":"bearer","expires_in":60,"refresh_token":"RT"}"#;

    fn source(server: &ScriptedServer) -> ClientCredentials {
        let secret = ClientSecret::Command(["echo", "s"].map(str::to_owned).to_vec());
        let authentication = ClientAuthentication::SecretPost(secret);
        ClientCredentials(Arc::new(Issuer::fake(server.endpoints(), authentication)))
    }

    #[tokio::test]
    async fn tokens_come_without_a_person_and_without_a_refresh_token_6749_10() {
        let server = ScriptedServer::answering([json(200, TOKENS)]).await;
        let source = source(&server);
        let left_over = RefreshToken::new("OLD".into(), server.issuer());
        for refresh in [None, Some(left_over)] {
            let tokens = source.renew(refresh, Wanted::Own).await.unwrap().tokens().await.unwrap();
            assert_eq!(tokens.access.secret().expose_secret(), "AT");
            assert!(tokens.refresh.is_none());
            let request = server.requests().pop().unwrap();
            let expected = "grant_type=client_credentials&scope=all&client_id=cli&client_secret=s";
            assert_eq!(request.split_once("\r\n\r\n").unwrap().1, expected);
        }
        assert_eq!(source.attendance(), Attendance::Unattended);
    }

    #[tokio::test]
    async fn a_refused_client_is_never_asked_to_log_in() {
        let server = ScriptedServer::answering([json(400, r#"{"error":"invalid_grant"}"#)]).await;
        let failure = source(&server).renew(None, Wanted::Own).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
        let Err(failure) = source(&server).begin_login(Flow::Configured).await else {
            panic!("a login began")
        };
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
    }
}
