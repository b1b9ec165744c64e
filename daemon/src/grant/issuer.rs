//! The issuer as the grants see it: who asks, for what, and what is done with a refresh token, whichever grant it is of.
//!
//! The thing to get wrong: a refresh token goes to the origin that issued it and to no other, whatever the metadata say
//! today.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::flyte;
use crate::flyte::auth_metadata::AuthMetadata;
#[cfg(test)]
use crate::grant::Renewal;
use crate::grant::binding::Binding;
use crate::grant::client_secret;
use crate::grant::loopback::RedirectUri;
use crate::grant::program::Environment;
use crate::grant::{Reader, Revoked, Rotation, Unread, Wanted};
use crate::oauth::client_auth::Credentials;
use crate::oauth::discovery::Discovery;
use crate::oauth::error::{Error, Presented};
use crate::oauth::http::Http;
use crate::oauth::request::Request;
use crate::oauth::revocation::{self, Subject};
use crate::oauth::token_endpoint::{self, Exchange};
use crate::oauth::{Client, ClientId, EndpointUrl, Endpoints, ExtraParameters, LoopbackHttp, Server};
use crate::secret::LockedText;
use crate::token::answered::{Answered, Purpose, Terms};
use crate::token::failure::Failure;
use crate::token::{RefreshToken, Target, TokenSet};

/// How long the issuer that a Flyte endpoint names may be looked for. Whoever logs in or out waits for it, and for what they
/// came for after that.
const LOOKUP: Duration = Duration::from_secs(8);

/// What every grant needs in order to speak to its issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// Where it is.
    pub(crate) site: Site,
    /// The way there.
    pub(crate) http: Http,
    /// When.
    pub(crate) clock: Clock,
    /// Who asks.
    pub(crate) client: Client,
    /// For what, and for whom.
    pub(crate) target: Target,
    /// What is added to the requests.
    pub(crate) extra: ExtraParameters,
    /// Whether a page for people may be on loopback without TLS.
    pub(crate) loopback: LoopbackHttp,
    /// What a program that prints the client's secret gets.
    pub(crate) environment: Environment,
    /// Whether refresh tokens are bound to a key.
    pub(crate) binding: Binding,
}

/// Who tells where the endpoints are.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per account")]
pub(crate) enum Site {
    /// The issuer's metadata, or the settings.
    Issuer(Discovery),
    /// A Flyte endpoint, which also says what the settings do not.
    Flyte(Arc<flyte::discovery::Discovery>),
}

/// All that is known before a request: what the settings say, and what was discovered where they say nothing.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Where the requests go.
    pub(crate) endpoints: Endpoints,
    /// Which client asks.
    pub(crate) client_id: String,
    /// For what, and for whom.
    pub(crate) target: Target,
    /// Where the browser is to be sent back to, where the issuer says so.
    pub(crate) redirect_uri: Option<RedirectUri>,
    /// The header in which the resource server wants the access token; absent means `authorization`.
    pub(crate) header: Option<String>,
}

impl Known {
    /// Returns what is wanted, with what is known where a request and the settings leave it open.
    pub(crate) fn completed(&self, wanted: Wanted) -> Wanted {
        match wanted {
            Wanted::Own => Wanted::Own,
            Wanted::Other(Target { scope, audience, resources }) => {
                let scope = if scope.is_empty() { self.target.scope.clone() } else { scope };
                let audience = audience.or_else(|| self.target.audience.clone());
                Wanted::Other(Target { scope, audience, resources })
            }
        }
    }
}

impl Issuer {
    /// Returns what is known, and discovers what is not.
    pub(crate) async fn known(&self) -> Result<Known, Failure> {
        match &self.site {
            Site::Issuer(discovery) => {
                let discovered = discovery.endpoints(self.clock.now()).await;
                let endpoints = discovered.map_err(|error| error.classify())?;
                let (client_id, target) = (self.client_id(None)?, self.target.clone());
                Ok(Known { endpoints, client_id, target, redirect_uri: None, header: None })
            }
            Site::Flyte(discovery) => self.completed(discovery.auth_metadata(self.loopback).await?),
        }
    }

    /// Returns the settings, with what a Flyte endpoint says where they say nothing.
    fn completed(&self, found: AuthMetadata) -> Result<Known, Failure> {
        let client_id = self.client_id(found.client_id)?;
        let mut target = self.target.clone();
        if target.scope.is_empty() {
            target.scope = found.scope;
        }
        target.audience = target.audience.or(found.audience);
        // Only some grants have a use for it, and the settings may have another.
        let redirect_uri = found.redirect_uri.and_then(|text| {
            let parsed = text.parse();
            parsed.inspect_err(|error| tracing::warn!(%error, "the Flyte endpoint's redirect_uri")).ok()
        });
        Ok(Known { endpoints: found.endpoints, client_id, target, redirect_uri, header: found.header })
    }

    /// Returns the client to be: the settings' word, or else the endpoint's.
    fn client_id(&self, said: Option<String>) -> Result<String, Failure> {
        let id = match &self.client.id {
            ClientId::Given(id) => Some(id.clone()),
            ClientId::FromEndpoint => said,
        };
        id.ok_or_else(|| {
            Failure::misconfigured("the Flyte endpoint does not say which client to be: configure client_id")
        })
    }

    /// Returns the client with its secret in hand.
    pub(crate) async fn credentials(&self, known: &Known) -> Result<Credentials, Failure> {
        let Endpoints { issuer, token, .. } = &known.endpoints;
        let audience = issuer.as_deref().unwrap_or(token.url().as_str());
        let authentication = &self.client.authentication;
        client_secret::credentials(&known.client_id, authentication, audience, &self.environment).await
    }

    /// Addresses an endpoint.
    pub(crate) fn request<'a>(
        &'a self,
        endpoint: &'a EndpointUrl,
        credentials: &'a Credentials,
    ) -> Request<'a> {
        Request { http: &self.http, endpoint, credentials, started: self.clock.now(), proof_key: None }
    }

    /// Exchanges something for tokens at the token endpoint, once; a refresh token goes by [`Issuer::rotation`]. `wanted` is
    /// what is asked for.
    pub(crate) async fn exchange(
        &self,
        known: &Known,
        credentials: &Credentials,
        exchange: Exchange<'_>,
        wanted: &Wanted,
    ) -> Result<TokenSet, Error> {
        let request = self.request(&known.endpoints.token, credentials);
        let terms = token_endpoint::Terms {
            scope: &wanted.target(&known.target).scope,
            issuer: known.endpoints.issuer.as_deref(),
            extra: &self.extra,
        };
        let exchanged = token_endpoint::exchange(&request, exchange, terms).await;
        let tokens = exchanged.map_err(|error| self.binding.taught(error, exchange.proof_key()))?;
        Ok(TokenSet { header: known.header.clone(), ..tokens })
    }

    /// Gets a renewal with a refresh token ready: after this only its own request can fail.
    pub(crate) async fn rotation(
        self: Arc<Self>,
        refresh: RefreshToken,
        wanted: Wanted,
    ) -> Result<Rotation, Failure> {
        let known = self.known().await?;
        stays_home("token", &known.endpoints.token, &refresh.origin)?;
        let wanted = known.completed(wanted);
        let credentials = self.credentials(&known).await?;
        let turn = self.http.turn(&known.endpoints.token).await;
        let (reader, presented) = (Arc::clone(&self), refresh.clone());
        let secrets: Vec<_> =
            [refresh.secret.clone()].into_iter().chain(credentials.secret().map(LockedText::from)).collect();
        let send = async move {
            let _turn = turn;
            let request = self.request(&known.endpoints.token, &credentials);
            // A renewal that asks for nothing gets what was granted, which may be less than the settings ask for.
            let scope = wanted.other().map(|target| target.scope.clone()).unwrap_or_default();
            let terms = Terms {
                sent_at: request.started.moment,
                purpose: if wanted == Wanted::Own { Purpose::Own } else { Purpose::Other },
                origin: refresh.origin.clone(),
                scope,
                issuer: known.endpoints.issuer.clone(),
                client_id: credentials.client_id.clone(),
                header: known.header.clone(),
            };
            let exchange = Exchange::RefreshToken { refresh: &refresh, wanted: wanted.other() };
            let answered = token_endpoint::present(&request, exchange, &self.extra, terms).await;
            answered.map_err(|error| error.classify(Presented::RefreshToken))
        };
        let read: Reader = Box::new(move |answered| reader.read(answered, &presented, &secrets));
        Ok(Rotation { send: Box::pin(send), read })
    }

    /// Reads the answer to a renewal with this refresh token. What it quotes of secrets is not repeated.
    pub(crate) fn read(
        &self,
        answered: &Answered,
        presented: &RefreshToken,
        secrets: &[LockedText],
    ) -> Result<TokenSet, Unread> {
        let key = presented.proof_key.as_ref();
        token_endpoint::read(answered, key, self.clock.now()).map_err(|unread| {
            let origin = &answered.terms.origin;
            let host = origin.split_once("://").map_or(&**origin, |(_, host)| host).to_owned();
            let kind = self
                .binding
                .taught_by_renewal(unread.kind.without(secrets.iter().map(ExposeSecret::expose_secret)), key);
            let error = Error { host, kind };
            Unread {
                failure: error.classify(Presented::RefreshToken),
                successor: unread.successor.map(|token| *token),
            }
        })
    }

    /// Binds a refresh token of another client to the token endpoint of today, and gets its exchange ready.
    pub(crate) async fn adopt(
        self: Arc<Self>,
        secret: SecretString,
    ) -> Result<(RefreshToken, Rotation), Failure> {
        self.may_adopt()?;
        let origin = self.known().await?.endpoints.token.origin();
        let refresh = RefreshToken::new(LockedText::from(&secret), origin);
        let rotation = self.rotation(refresh.clone(), Wanted::Own).await?;
        Ok((refresh, rotation))
    }

    /// Asks it to take tokens back.
    pub(crate) async fn revoke(&self, tokens: TokenSet) -> Result<Revoked, Failure> {
        let known = self.known().await?;
        let endpoints = &known.endpoints;
        let home = tokens
            .refresh
            .as_ref()
            .map_or_else(|| endpoints.token.origin(), |refresh| refresh.origin.clone());
        let found = match (&endpoints.revocation, &self.site) {
            (Some(endpoint), _) => Some(endpoint.clone()),
            (None, Site::Issuer(_)) => None,
            // An endpoint away from home counts as none: nobody could mend that.
            (None, Site::Flyte(_)) => self
                .endpoints_by_issuer(endpoints)
                .await
                .and_then(|found| found.revocation)
                .filter(|endpoint| endpoint.origin() == home),
        };
        let Some(endpoint) = found else { return Ok(Revoked::Unsupported) };
        stays_home("revocation", &endpoint, &home)?;
        let credentials = self.credentials(&known).await?;
        let answered = revocation::revoke(&self.request(&endpoint, &credentials), Subject::of(&tokens)).await;
        match answered.map_err(|error| error.classify(Presented::ClientAlone))? {
            revocation::Answered::Revoked => Ok(Revoked::Yes),
            revocation::Answered::Unsupported => Ok(Revoked::Unsupported),
        }
    }

    /// Finds the metadata of the issuer that a Flyte endpoint names, for what it has no word for itself.
    pub(crate) async fn endpoints_by_issuer(&self, endpoints: &Endpoints) -> Option<Endpoints> {
        let issuer = endpoints.issuer.clone()?;
        let server = Server::Discovered { issuer: issuer.clone(), loopback: self.loopback };
        let discovery = Discovery::new(server, self.http.clone());
        let discovered = timeout(LOOKUP, discovery.endpoints(self.clock.now())).await;
        let discovered = discovered.map_err(|_| format!("nothing within {LOOKUP:?}"));
        discovered
            .and_then(|endpoints| endpoints.map_err(|error| error.to_string()))
            .inspect_err(|reason| tracing::info!(%issuer, reason, "cannot learn more of the issuer"))
            .ok()
    }
}

#[cfg(test)]
impl Issuer {
    /// Renews with a refresh token, with nobody who writes down what comes.
    pub(crate) async fn refresh(
        self: &Arc<Self>,
        refresh: RefreshToken,
        wanted: Wanted,
    ) -> Result<TokenSet, Failure> {
        Renewal::Ready(Arc::clone(self).rotation(refresh, wanted).await?).tokens().await
    }

    /// Returns the issuer at these endpoints, for a client `cli` that asks for `all`.
    pub(crate) fn fake(endpoints: Endpoints, authentication: crate::oauth::ClientAuthentication) -> Self {
        let http = Http::new().unwrap();
        Self {
            site: Site::Issuer(Discovery::new(Server::Given(endpoints), http.clone())),
            http,
            clock: Clock::system(),
            client: Client { id: ClientId::Given("cli".to_owned()), authentication },
            target: Target { scope: crate::token::Scope::parse("all"), ..Target::default() },
            extra: ExtraParameters::default(),
            loopback: LoopbackHttp::Allowed,
            environment: Environment::from_own([]),
            binding: Binding::default(),
        }
    }
}

/// Refuses to send a token to another origin than the one that issued it.
fn stays_home(name: &str, endpoint: &EndpointUrl, home: &str) -> Result<(), Failure> {
    let origin = endpoint.origin();
    if origin == home {
        return Ok(());
    }
    Err(Failure::misconfigured(format!(
        "the tokens are from {home}, but the {name} endpoint is at {origin} now, where they are not sent: log in again, \
         or mend the issuer's settings"
    )))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::flyte::message::{PublicClientConfig, Said};
    use crate::flyte::scripted_grpc::ScriptedFlyte;
    use crate::oauth::ClientAuthentication;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::token::{AccessToken, Scope};

    const TOKENS: &str =
        r#"{"access_token":"AT2","token_type":"bearer","expires_in":60,"refresh_token":"RT2"}"#;

    fn issuer(endpoints: Endpoints) -> Arc<Issuer> {
        Arc::new(Issuer::fake(endpoints, ClientAuthentication::None))
    }

    fn refresh_token(origin: &str) -> RefreshToken {
        RefreshToken::new("RT".into(), origin.to_owned())
    }

    fn tokens(refresh: Option<RefreshToken>) -> TokenSet {
        let access = AccessToken::new("AT".into(), Clock::system().now().moment, None).unwrap();
        TokenSet { refresh, ..TokenSet::of(access) }
    }

    #[tokio::test]
    async fn a_refresh_token_goes_to_the_origin_that_issued_it_and_to_no_other_8414_8() {
        let server = ScriptedServer::answering([json(200, TOKENS)]).await;
        let issuer = issuer(server.endpoints());
        for origin in ["https://login.example.com", "http://127.0.0.1", &format!("{}/", server.issuer()), ""]
        {
            let failure = issuer.refresh(refresh_token(origin), Wanted::Own).await.unwrap_err();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
            assert!(failure.to_string().contains(&server.issuer()), "{failure}");
            let failure = issuer.revoke(tokens(Some(refresh_token(origin)))).await.unwrap_err();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        }
        assert!(server.requests().is_empty());
        let renewed = issuer.refresh(refresh_token(&server.issuer()), Wanted::Own).await.unwrap();
        assert_eq!(renewed.refresh.unwrap().origin, server.issuer());
        assert_eq!(server.requests().len(), 1);
    }

    /// Returns an issuer that a Flyte endpoint tells about, for a client with these settings.
    fn by_flyte(flyte: &ScriptedFlyte, id: ClientId, scope: &str) -> Arc<Issuer> {
        let endpoints = Endpoints::at(EndpointUrl::parse("https://unused", LoopbackHttp::Refused).unwrap());
        let issuer = Issuer::fake(endpoints, ClientAuthentication::None);
        let discoveries = flyte::discovery::Discoveries::new(Path::new("/dev/null"), issuer.clock.clone());
        let transport = crate::oauth::transport::Transport::default();
        Arc::new(Issuer {
            site: Site::Flyte(discoveries.of(&flyte.endpoint(), &issuer.http, &transport)),
            client: Client { id, ..issuer.client },
            target: Target { scope: Scope::parse(scope), ..Target::default() },
            ..issuer
        })
    }

    #[tokio::test]
    async fn a_flyte_endpoint_says_what_the_settings_do_not_and_no_more() {
        let flyte = ScriptedFlyte::start().await;
        let mine = || ClientId::Given("mine".to_owned());
        flyte.say_by_grpc(&Said::example("https://login.example.com"));
        let known = by_flyte(&flyte, ClientId::FromEndpoint, "").known().await.unwrap();
        assert_eq!(known.endpoints.token.to_string(), "https://login.example.com/token");
        assert_eq!((known.client_id.as_str(), known.target.scope), ("flytectl", Scope::parse("all offline")));
        assert_eq!(known.target.audience.as_deref(), Some("https://flyte.example.com"));
        assert_eq!(known.header.as_deref(), Some("flyte-authorization"));
        let known = by_flyte(&flyte, mine(), "less").known().await.unwrap();
        assert_eq!((known.client_id.as_str(), known.target.scope), ("mine", Scope::parse("less")));

        let silent =
            Said { client: PublicClientConfig::default(), ..Said::example("https://login.example.com") };
        flyte.say_by_grpc(&silent);
        assert!(by_flyte(&flyte, mine(), "").known().await.is_ok());
        let failure = by_flyte(&flyte, ClientId::FromEndpoint, "").known().await.unwrap_err();
        assert!(failure.to_string().ends_with("configure client_id"), "{failure}");
    }

    #[tokio::test]
    async fn what_a_request_for_another_target_leaves_open_is_as_a_flyte_endpoint_says() {
        let flyte = ScriptedFlyte::start().await;
        flyte.say_by_grpc(&Said::example("https://login.example.com"));
        let known = by_flyte(&flyte, ClientId::FromEndpoint, "").known().await.unwrap();
        let other = |scope: &str, audience: Option<&str>| {
            let target = Target {
                scope: Scope::parse(scope),
                audience: audience.map(str::to_owned),
                ..Target::default()
            };
            Wanted::Other(target)
        };
        let flytes = Some("https://flyte.example.com");
        assert_eq!(known.completed(other("read", None)), other("read", flytes));
        assert_eq!(known.completed(other("", Some("other"))), other("all offline", Some("other")));
        assert_eq!(known.completed(Wanted::Own), Wanted::Own);
    }

    #[tokio::test]
    async fn a_refresh_token_stays_home_when_a_flyte_endpoint_names_another_issuer() {
        let flyte = ScriptedFlyte::start().await;
        flyte.say_by_grpc(&Said::example("https://evil.example.com"));
        let refresh = refresh_token("https://login.example.com");
        let failure =
            by_flyte(&flyte, ClientId::FromEndpoint, "").refresh(refresh, Wanted::Own).await.unwrap_err();
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert!(failure.to_string().contains("https://evil.example.com"), "{failure}");
    }

    /// Returns the metadata of a server that is an issuer, in which this is where tokens are taken back.
    fn issuer_metadata(server: &ScriptedServer, revocation: &str) -> Vec<u8> {
        let issuer = server.issuer();
        json(
            200,
            &format!(
                r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/t","revocation_endpoint":"{revocation}"}}"#
            ),
        )
    }

    #[tokio::test]
    async fn what_a_flyte_endpoint_does_not_say_about_revocation_its_issuer_says() {
        let (flyte, server) =
            (ScriptedFlyte::start().await, ScriptedServer::answering([json(404, "")]).await);
        flyte.say_by_grpc(&Said::example(&server.issuer()));
        let issuer = by_flyte(&flyte, ClientId::FromEndpoint, "");
        let home = server.issuer();
        server.then([issuer_metadata(&server, &format!("{home}/revoke")), json(200, "")]);
        assert_eq!(issuer.revoke(tokens(Some(refresh_token(&home)))).await, Ok(Revoked::Yes));
        let requests = server.requests();
        assert!(requests[0].starts_with("GET /.well-known/oauth-authorization-server "), "{requests:?}");
        assert!(
            requests[1].starts_with("POST /revoke ") && requests[1].contains("token=RT&"),
            "{requests:?}"
        );
        assert_eq!(requests.len(), 2);
    }

    #[tokio::test]
    async fn a_flyte_endpoint_leads_to_an_issuer_that_says_whether_it_takes_proofs_9449_4() {
        let (flyte, server) =
            (ScriptedFlyte::start().await, ScriptedServer::answering([json(404, "")]).await);
        flyte.say_by_grpc(&Said::example(&server.issuer()));
        let home = server.issuer();
        let document = |token: &str, algorithms: &str| {
            let body = format!(
                r#"{{"issuer":"{home}","token_endpoint":"{token}","dpop_signing_alg_values_supported":[{algorithms}]}}"#
            );
            json(200, &body)
        };
        let token = format!("{home}/token");
        for (answer, expected) in [
            (document(&token, r#""ES256""#), true),
            (document(&token, r#""RS256""#), false),
            // Of another endpoint it says nothing.
            (document(&format!("{home}/other"), r#""ES256""#), false),
            (json(404, ""), false),
            (json(503, ""), false),
        ] {
            server.then([answer]);
            let issuer = by_flyte(&flyte, ClientId::FromEndpoint, "");
            let known = issuer.known().await.unwrap();
            assert_eq!(known.endpoints.token.to_string(), token);
            assert_eq!(issuer.proof_key(&known).await.unwrap().is_some(), expected);
        }
        let asked = server.requests().len();
        let issuer = Arc::into_inner(by_flyte(&flyte, ClientId::FromEndpoint, "")).unwrap();
        let issuer =
            Issuer { binding: Binding::new(crate::oauth::DpopPolicy::Off, Arc::default()), ..issuer };
        assert!(issuer.proof_key(&issuer.known().await.unwrap()).await.unwrap().is_none());
        assert_eq!(server.requests().len(), asked);
    }

    #[tokio::test]
    async fn an_issuer_that_a_flyte_endpoint_names_gets_no_token_of_another_origin() {
        let (flyte, server) =
            (ScriptedFlyte::start().await, ScriptedServer::answering([json(404, "")]).await);
        let elsewhere = ScriptedServer::answering([json(200, "")]).await;
        flyte.say_by_grpc(&Said::example(&server.issuer()));
        let issuer = by_flyte(&flyte, ClientId::FromEndpoint, "");
        let home = server.issuer();
        let another = issuer_metadata(&elsewhere, &format!("{home}/revoke"));
        let away = issuer_metadata(&server, &format!("{}/revoke", elsewhere.issuer()));
        for trouble in [json(503, ""), another, away, json(404, "")] {
            server.then([trouble]);
            let revoked = issuer.revoke(tokens(Some(refresh_token(&home)))).await;
            assert_eq!(revoked, Ok(Revoked::Unsupported));
        }
        server.then([issuer_metadata(&server, &format!("{home}/revoke"))]);
        let foreign = issuer.revoke(tokens(Some(refresh_token("https://login.example.com")))).await;
        assert_eq!(foreign, Ok(Revoked::Unsupported));
        assert!(elsewhere.requests().is_empty());
        assert!(server.requests().iter().all(|request| request.starts_with("GET ")));
    }

    #[tokio::test]
    async fn what_an_answer_to_a_renewal_does_not_say_was_granted_is_not_made_up_6749_5() {
        let server = ScriptedServer::answering([json(200, TOKENS)]).await;
        let issuer = issuer(server.endpoints());
        let narrower = Wanted::Other(Target { scope: Scope::parse("less"), ..Target::default() });
        for (wanted, expected) in [(Wanted::Own, ""), (narrower, "less")] {
            let renewed = issuer.refresh(refresh_token(&server.issuer()), wanted).await.unwrap();
            assert_eq!(renewed.scope, Scope::parse(expected));
        }
    }

    #[tokio::test]
    async fn a_refusal_of_the_refresh_token_is_told_from_a_refusal_of_the_client() {
        let server = ScriptedServer::answering([
            json(400, r#"{"error":"invalid_grant"}"#),
            json(401, r#"{"error":"invalid_client"}"#),
            json(503, ""),
        ])
        .await;
        let issuer = issuer(server.endpoints());
        let refresh = || issuer.refresh(refresh_token(&server.issuer()), Wanted::Own);
        assert!(matches!(refresh().await, Err(Failure::Refused { .. })));
        assert!(matches!(refresh().await, Err(Failure::Misconfigured { .. })));
        assert!(matches!(refresh().await, Err(Failure::Ambiguous { .. })));
        assert_eq!(server.requests().len(), 3);
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_short_at_any_byte_may_have_spent_the_token_and_is_never_read_r5() {
        let length = TOKENS.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let framings = [
            format!("{head}Content-Length: {length}\r\n\r\n{TOKENS}"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{TOKENS}\r\n0\r\n\r\n"),
            format!("{head}Connection: close\r\n\r\n{TOKENS}"),
        ];
        let server = ScriptedServer::answering([json(503, "")]).await;
        let issuer = issuer(server.endpoints());
        let mut requests = 0;
        for whole in framings {
            for end in 0..=whole.len() {
                server.then([whole.as_bytes()[..end].to_vec()]);
                let outcome = issuer.refresh(refresh_token(&server.issuer()), Wanted::Own).await;
                requests += 1;
                assert_eq!(server.requests().len(), requests, "presented twice: {}", &whole[..end]);
                match outcome {
                    Ok(tokens) => {
                        assert_eq!(tokens.refresh.unwrap().secret.expose_secret(), "RT2");
                        assert_eq!(end, whole.len(), "read although it was cut short: {}", &whole[..end]);
                    }
                    Err(failure) => {
                        assert!(matches!(failure, Failure::Ambiguous { .. }), "{failure}: {}", &whole[..end]);
                        assert!(end < whole.len(), "{failure}: {whole}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn an_access_token_alone_is_revoked_where_it_came_from() {
        let (server, elsewhere) = (
            ScriptedServer::answering([json(200, "")]).await,
            ScriptedServer::answering([json(200, "")]).await,
        );
        assert_eq!(issuer(server.endpoints()).revoke(tokens(None)).await, Ok(Revoked::Yes));
        let moved = Endpoints { revocation: Some(elsewhere.endpoint("/revoke")), ..server.endpoints() };
        assert!(matches!(issuer(moved).revoke(tokens(None)).await, Err(Failure::Misconfigured { .. })));
        assert!(elsewhere.requests().is_empty());
    }

    #[tokio::test]
    async fn without_a_revocation_endpoint_nothing_is_revoked() {
        let server = ScriptedServer::answering([json(200, "")]).await;
        let none = Endpoints { revocation: None, ..server.endpoints() };
        assert_eq!(issuer(none).revoke(tokens(None)).await, Ok(Revoked::Unsupported));
        assert!(server.requests().is_empty());
    }
}
