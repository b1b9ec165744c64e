//! Whether the refresh token of a login is bound to a key (RFC 9449), and what the issuer has shown of how it does that.
//!
//! The tools that get our access tokens send them alone. So an issuer that binds those as well is asked without a key from
//! then on. The thing to get wrong: its answer has spent the person's code, so the login is begun anew, and once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::grant::issuer::{Issuer, Known, Site};
use crate::oauth::dpop;
use crate::oauth::error::{Code, Error, Kind};
use crate::oauth::{Dpop, DpopPolicy};
use crate::token::ProofKey;
use crate::token::failure::Failure;

/// What is done about an access token that tools cannot use, in the words of a message.
const BEGUN_ANEW: &str = "the login is begun anew without";
const LOG_IN_AGAIN: &str = "log in again";
const NOT_REQUIRED: &str = "write dpop = \"auto\" to go without";

/// What an account wants of its issuer in this, and what the issuer has shown.
#[derive(Debug, Default)]
pub(crate) struct Binding {
    policy: DpopPolicy,
    shown: Arc<Shown>,
}

/// What an issuer has shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Whether a key does harm here: access tokens get bound to it, or our proofs are not understood.
    does_harm: AtomicBool,
    /// Whether the login that is under way was where that showed, and nobody has asked yet.
    has_taught: AtomicBool,
}

/// What the issuers of all accounts have shown. It outlives a reload of the settings, and logins that are under way then.
#[derive(Clone, Debug, Default)]
pub struct Lessons(Arc<Mutex<BTreeMap<Vec<String>, Arc<Shown>>>>);

impl Lessons {
    /// Returns what the issuer of an account has shown. The account goes by its name and all that its tokens are bound to.
    pub(crate) fn of(&self, account: Vec<String>) -> Arc<Shown> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of accounts that are gone go with them.
        known.retain(|_, shown| Arc::strong_count(shown) > 1);
        Arc::clone(known.entry(account).or_default())
    }
}

impl Binding {
    /// Goes by what the settings say and what the issuer has shown.
    pub(crate) fn new(policy: DpopPolicy, shown: Arc<Shown>) -> Self {
        Self { policy, shown }
    }

    /// Tells whether the login that has just failed would go well if it were begun anew.
    pub(crate) fn has_taught(&self) -> bool {
        self.shown.has_taught.load(Ordering::Relaxed)
    }

    /// Tells, once, whether the login that has just failed would go well if it were begun anew.
    pub(crate) fn begins_anew(&self) -> bool {
        self.shown.has_taught.swap(false, Ordering::Relaxed)
    }

    /// Takes in why a login brought nothing, and says what helps.
    pub(crate) fn taught(&self, mut error: Error, proof_key: Option<&ProofKey>) -> Error {
        let is_about_key = match &error.kind {
            Kind::KeyBound { .. } => true,
            Kind::OAuth { refusal, .. } => refusal.code == Code::InvalidDpopProof,
            Kind::Transport { .. }
            | Kind::Unusable { .. }
            | Kind::Redirect { .. }
            | Kind::Html { .. }
            | Kind::Status { .. }
            | Kind::Malformed { .. } => false,
        };
        if !is_about_key || proof_key.is_none() {
            return error;
        }
        let helps = match self.policy {
            DpopPolicy::Auto => {
                self.shown.does_harm.store(true, Ordering::Relaxed);
                self.shown.has_taught.store(true, Ordering::Relaxed);
                BEGUN_ANEW
            }
            DpopPolicy::Off | DpopPolicy::Require => NOT_REQUIRED,
        };
        if let Kind::KeyBound { remedy } = &mut error.kind {
            *remedy = helps;
        }
        error
    }

    /// Takes in why a renewal brought nothing.
    pub(crate) fn taught_by_renewal(&self, mut kind: Kind, proof_key: Option<&ProofKey>) -> Kind {
        if let (Kind::KeyBound { remedy }, Some(_)) = (&mut kind, proof_key) {
            // The key in force stays with its refresh token; the next login has none.
            self.shown.does_harm.store(true, Ordering::Relaxed);
            *remedy = LOG_IN_AGAIN;
        }
        kind
    }

    /// Returns a key for a login at an issuer that takes proofs, or does not.
    fn key(&self, dpop: Dpop, host: &str) -> Result<Option<ProofKey>, Failure> {
        self.shown.has_taught.store(false, Ordering::Relaxed);
        match (self.policy, dpop) {
            (DpopPolicy::Off, _) | (DpopPolicy::Auto, Dpop::Lacking) => return Ok(None),
            (DpopPolicy::Require, Dpop::Lacking) => {
                return Err(Failure::misconfigured(format!(
                    "dpop = \"require\", but the metadata of {host} do not say that it takes ES256 proofs: write dpop = \
                     \"auto\", or ask the issuer's administrator for DPoP"
                )));
            }
            (DpopPolicy::Auto, Dpop::Supported) if self.shown.does_harm.load(Ordering::Relaxed) => {
                return Ok(None);
            }
            (DpopPolicy::Auto | DpopPolicy::Require, Dpop::Supported) => {}
        }
        dpop::fresh_key().map(Some).map_err(|not| Failure::transient(not.to_string()))
    }
}

impl Issuer {
    /// Returns the key that a login's refresh token is to be bound to, if to any.
    pub(crate) async fn proof_key(&self, known: &Known) -> Result<Option<ProofKey>, Failure> {
        let token = &known.endpoints.token;
        let dpop = match (self.binding.policy, &self.site) {
            (DpopPolicy::Off, _) => Dpop::Lacking,
            (DpopPolicy::Auto | DpopPolicy::Require, Site::Issuer(_)) => known.endpoints.dpop,
            // It has no word for this itself, but its issuer may have.
            (DpopPolicy::Auto | DpopPolicy::Require, Site::Flyte(_)) => self
                .endpoints_by_issuer(&known.endpoints)
                .await
                .filter(|found| found.token == *token)
                .map_or(Dpop::Lacking, |found| found.dpop),
        };
        self.binding.key(dpop, &token.host())
    }

    /// Refuses to take over a refresh token that is bound to no key, where one is required.
    pub(crate) fn may_adopt(&self) -> Result<(), Failure> {
        match self.binding.policy {
            DpopPolicy::Auto | DpopPolicy::Off => Ok(()),
            DpopPolicy::Require => Err(Failure::misconfigured(
                "the session of another client is bound to no key, which dpop = \"require\" asks for: log in instead",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::clock::Clock;
    use crate::grant::authorization_code::{AuthorizationCode, BrowserLogin};
    use crate::grant::device_code::DeviceCode;
    use crate::grant::{Flow, Prompt, TokenSource, Wanted};
    use crate::oauth::http::Http;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::oauth::transport::Transport;
    use crate::oauth::{ClientAuthentication, Endpoints};
    use crate::token::device_login::DeviceLogin;
    use crate::token::{RefreshToken, TokenSet};

    const PENDING: &str = r#"{"error":"authorization_pending"}"#;

    fn tokens(kind: &str, refresh: &str) -> Vec<u8> {
        json(200, &format!(r#"{{"access_token":"AT","token_type":"{kind}","refresh_token":"{refresh}"}}"#))
    }

    fn device_code(server: &ScriptedServer, policy: DpopPolicy, dpop: Dpop) -> DeviceCode {
        let endpoints = Endpoints { dpop, ..server.endpoints() };
        let issuer = Issuer::fake(endpoints, ClientAuthentication::None);
        let binding = Binding::new(policy, Arc::default());
        DeviceCode(Arc::new(Issuer { binding, http: Http::of(&Transport::default()), ..issuer }))
    }

    /// Goes through a login whose code a person has entered by now.
    async fn log_in(source: &DeviceCode, server: &ScriptedServer) -> Result<TokenSet, Failure> {
        let login = DeviceLogin {
            device_code: "DC".into(),
            origin: server.issuer(),
            interval: Duration::from_millis(1),
            until: Clock::system().now().moment.after(Duration::from_secs(60)),
            user_code: "WDJB-MJHT".to_owned(),
            verification_uri: "https://i/device".parse().unwrap(),
            verification_uri_complete: None,
        };
        source.resume_login(login).unwrap().answered.await?.await
    }

    async fn renew(source: &DeviceCode, refresh: &RefreshToken) -> Result<TokenSet, Failure> {
        source.renew(Some(refresh.clone()), Wanted::Own).await?.tokens().await
    }

    /// Returns the thumbprint of the key in the proof of each request, where it has one.
    fn keys(server: &ScriptedServer) -> Vec<Option<String>> {
        let requests = server.requests();
        let key = |request: &String| {
            let proof = request.lines().find_map(|line| line.strip_prefix("dpop: "))?;
            let header = BASE64_URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            let member = |name: &str| header["jwk"][name].as_str().unwrap().to_owned();
            let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, member("x"), member("y"));
            Some(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(jwk)))
        };
        requests.iter().map(key).collect()
    }

    #[tokio::test]
    async fn a_refresh_token_keeps_the_key_of_its_login_from_one_to_the_next_9449_2() {
        let script = [json(400, PENDING), json(400, PENDING), tokens("Bearer", "RT1")];
        let server = ScriptedServer::answering(script).await;
        let source = device_code(&server, DpopPolicy::Auto, Dpop::Supported);
        let first = log_in(&source, &server).await.unwrap().refresh.unwrap();
        let name = dpop::thumbprint(first.proof_key.as_ref().unwrap()).unwrap();
        server.then([tokens("Bearer", "RT2"), json(200, r#"{"access_token":"AT","token_type":"Bearer"}"#)]);
        let second = renew(&source, &first).await.unwrap().refresh.unwrap();
        assert_eq!(dpop::thumbprint(second.proof_key.as_ref().unwrap()).unwrap(), name);
        let tokens_of_third = renew(&source, &second).await.unwrap().keeping(Some(second));
        assert_eq!(dpop::thumbprint(&tokens_of_third.refresh.unwrap().proof_key.unwrap()).unwrap(), name);
        assert_eq!(keys(&server), vec![Some(name.clone()); 5]);
        // Another login has another key; a token without one is presented without a proof.
        server.then([tokens("Bearer", "RT3")]);
        let other = log_in(&source, &server).await.unwrap().refresh.unwrap();
        assert_ne!(dpop::thumbprint(&other.proof_key.unwrap()).unwrap(), name);
        renew(&source, &RefreshToken::new("RT0".into(), server.issuer())).await.unwrap();
        assert_eq!(keys(&server)[6], None);
    }

    #[tokio::test]
    async fn a_code_is_bound_to_the_key_that_its_page_heard_of_9449_2() {
        let server = ScriptedServer::answering([tokens("Bearer", "RT1")]).await;
        let issuer = device_code(&server, DpopPolicy::Auto, Dpop::Supported).0;
        let source = AuthorizationCode { issuer, browser: BrowserLogin::default() };
        let login = source.begin_login(Flow::Configured).await.unwrap();
        let Prompt::Visit { url } = &login.prompt else { panic!("a page") };
        let parameter =
            |name: &str| url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned();
        let redirect = format!("{}?code=CODE&state={}", parameter("redirect_uri"), parameter("state"));
        let (reply, _taken) = tokio::sync::oneshot::channel();
        let pasted = crate::grant::Pasted { url: redirect.into(), reply };
        login.pasting.unwrap().send(pasted).await.unwrap();
        let tokens = login.answered.await.unwrap().await.unwrap();
        let name = dpop::thumbprint(&tokens.refresh.unwrap().proof_key.unwrap()).unwrap();
        assert_eq!(parameter("dpop_jkt"), name);
        assert_eq!(keys(&server), [Some(name)]);
    }

    #[tokio::test]
    async fn an_issuer_that_binds_access_tokens_is_asked_without_a_key_from_then_on_9449_4() {
        for (bad, words) in [
            (tokens("DPoP", "RT1"), "the login is begun anew without"),
            (json(400, r#"{"error":"invalid_dpop_proof"}"#), "invalid_dpop_proof"),
        ] {
            let server = ScriptedServer::answering([bad]).await;
            let source = device_code(&server, DpopPolicy::Auto, Dpop::Supported);
            let failure = log_in(&source, &server).await.unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
            assert!(source.begins_anew());
            assert!(!source.begins_anew(), "once");
            server.then([tokens("Bearer", "RT2")]);
            assert!(log_in(&source, &server).await.unwrap().refresh.unwrap().proof_key.is_none());
            let keys = keys(&server);
            assert_eq!((keys[0].is_some(), keys[1].is_some()), (true, false));
            // What goes wrong without a key taught nothing.
            server.then([tokens("DPoP", "RT3")]);
            let failure = log_in(&source, &server).await.unwrap_err();
            assert!(failure.to_string().contains("registered for Bearer"), "{failure}");
            assert!(!source.begins_anew());
        }
    }

    #[tokio::test]
    async fn a_lesson_that_nobody_asked_for_is_not_the_next_logins() {
        let server = ScriptedServer::answering([tokens("DPoP", "RT1")]).await;
        let source = device_code(&server, DpopPolicy::Auto, Dpop::Supported);
        log_in(&source, &server).await.unwrap_err();
        server.then([json(400, r#"{"error":"access_denied"}"#)]);
        log_in(&source, &server).await.unwrap_err();
        assert!(!source.begins_anew());
    }

    #[tokio::test]
    async fn a_renewal_that_brings_a_bound_access_token_fails_and_has_the_next_login_go_without_9449_4() {
        let server = ScriptedServer::answering([tokens("Bearer", "RT1")]).await;
        let source = device_code(&server, DpopPolicy::Auto, Dpop::Supported);
        let refresh = log_in(&source, &server).await.unwrap().refresh.unwrap();
        server.then([tokens("DPoP", "RT2")]);
        let failure = renew(&source, &refresh).await.unwrap_err();
        assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
        assert!(failure.to_string().ends_with("log in again"), "{failure}");
        assert!(!source.begins_anew(), "no login has failed");
        server.then([tokens("Bearer", "RT3")]);
        let refresh = log_in(&source, &server).await.unwrap().refresh.unwrap();
        assert!(refresh.proof_key.is_none());
    }

    #[tokio::test]
    async fn a_key_is_made_where_settings_and_issuer_want_one_9449_4() {
        use {Dpop::Lacking, Dpop::Supported, DpopPolicy::Auto, DpopPolicy::Off, DpopPolicy::Require};
        for (policy, dpop, expected) in [
            (Auto, Supported, true),
            (Auto, Lacking, false),
            (Off, Supported, false),
            (Off, Lacking, false),
            (Require, Supported, true),
        ] {
            let server = ScriptedServer::answering([tokens("Bearer", "RT1")]).await;
            let source = device_code(&server, policy, dpop);
            let refresh = log_in(&source, &server).await.unwrap().refresh.unwrap();
            assert_eq!(refresh.proof_key.is_some(), expected, "{policy:?} {dpop:?}");
        }
        let server = ScriptedServer::answering([tokens("DPoP", "RT1")]).await;
        let failure = log_in(&device_code(&server, Require, Lacking), &server).await.unwrap_err();
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert!(failure.to_string().contains("ES256"), "{failure}");
        assert!(server.requests().is_empty());
        let source = device_code(&server, Require, Supported);
        let failure = log_in(&source, &server).await.unwrap_err();
        assert!(failure.to_string().contains("dpop = \"auto\""), "{failure}");
        assert!(!source.begins_anew());
        let failure = source.adopt("RT".into()).await.err().unwrap();
        assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn what_an_issuer_has_shown_outlives_a_reload_and_is_about_one_account_9449_4() {
        let lessons = Lessons::default();
        let binding = |name: &str| Binding::new(DpopPolicy::Auto, lessons.of(vec![name.to_owned()]));
        let (before, key) = (binding("prod"), dpop::fresh_key().unwrap());
        let bound = Error { host: "i".to_owned(), kind: Kind::KeyBound { remedy: "" } };
        before.taught(bound, Some(&key));
        let (after, other) = (binding("prod"), binding("other"));
        assert!(!other.begins_anew());
        assert!(after.begins_anew(), "the login that was under way failed");
        assert!(!before.begins_anew(), "it is begun anew once");
        assert!(after.key(Dpop::Supported, "i").unwrap().is_none(), "it is to be learned again");
        assert!(other.key(Dpop::Supported, "i").unwrap().is_some());
        drop((before, after));
        let once_more = binding("prod");
        assert!(once_more.key(Dpop::Supported, "i").unwrap().is_some(), "what nobody needs is kept");
    }
}
