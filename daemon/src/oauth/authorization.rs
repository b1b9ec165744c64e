//! The authorization request (RFC 6749 §4.1.1), and what the browser brings back for it (§4.1.2).
//!
//! An [`Attempt`] is one login. The thing to get wrong: anybody on this machine, and any web page, can make a browser
//! come back with anything. Only what carries our `state` and is from our issuer means something; all else changes
//! nothing.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::oauth::dpop::{self, NoProof};
use crate::oauth::error::Refusal;
use crate::oauth::form::Form;
use crate::oauth::pkce::{self, Verifier};
use crate::oauth::random::{self, NoRandomness};
use crate::oauth::{EndpointUrl, Endpoints, Redirects, S256};
use crate::token::failure::Failure;
use crate::token::{ProofKey, Target};

/// The scope that makes a request one of OpenID Connect, and an ID token part of its answer.
const OPENID: &str = "openid";

/// The parameters of a redirect that mean something to us.
const READ: [&str; 6] = ["state", "iss", "code", "error", "error_description", "error_uri"];

/// What an attempt is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The authorization server.
    pub(crate) endpoints: &'a Endpoints,
    /// RFC 6749 §2.2.
    pub(crate) client_id: &'a str,
    /// Where the browser is sent back to, letter for letter.
    pub(crate) redirect_uri: &'a str,
    /// What is asked for, and for whom.
    pub(crate) target: &'a Target,
    /// What the account adds.
    pub(crate) extra: &'a BTreeMap<String, String>,
    /// The key that the tokens are to be bound to (RFC 9449 §10): then a code that is stolen is of no use without it.
    pub(crate) proof_key: Option<&'a ProofKey>,
}

/// Why no attempt can be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no page to send the person to.
    #[error("the issuer has no authorization_endpoint: configure it, or use another grant")]
    NoEndpoint,
    /// The issuer would take a proof that protects from nobody, and not the one that does.
    #[error(
        "the issuer does not support PKCE with S256, without which a stolen code can be used: use another grant, or ask \
         the issuer's administrator for S256"
    )]
    NoS256,
    /// There is nothing to make secrets of.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The key that the tokens are to be bound to is none.
    #[error(transparent)]
    NoKey(#[from] NoProof),
}

impl Error {
    /// Decides what the account should do about it.
    pub(crate) fn classify(self) -> Failure {
        match self {
            Self::NoEndpoint | Self::NoS256 => Failure::misconfigured(self.to_string()),
            Self::NoRandomness(_) | Self::NoKey(_) => Failure::transient(self.to_string()),
        }
    }
}

/// One login: what is asked, and what its answer must match. Nothing in it is used for another.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    endpoint: EndpointUrl,
    redirect_uri: String,
    state: SecretString,
    verifier: Verifier,
    nonce: Option<SecretString>,
    proof_key: Option<ProofKey>,
    parameters: Form,
    issuer: Option<String>,
    redirects: Redirects,
}

/// What a redirect is.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// Not the answer to this attempt, in words for a page. The login goes on.
    Stray(&'static str),
    /// The answer to this attempt by somebody else: nothing in it may be used. The login goes on.
    Foreign(&'static str),
    /// The person agreed: the code that buys the tokens, once.
    Code(SecretString),
    /// The issuer, or the person there, refused.
    Refused(Refusal),
}

impl Attempt {
    /// Makes an attempt with secrets of its own.
    pub(crate) fn new(asked: Asked<'_>) -> Result<Self, Error> {
        let Endpoints { authorization, issuer, redirects, s256, .. } = asked.endpoints;
        let endpoint = authorization.clone().ok_or(Error::NoEndpoint)?;
        match s256 {
            S256::Assumed => {}
            S256::Lacking => return Err(Error::NoS256),
        }
        let (state, verifier) = (random::text()?, Verifier::fresh()?);
        let nonce = asked.target.scope.contains(OPENID).then(random::text).transpose()?;
        let mut parameters = Form::default()
            .with("response_type", "code")
            .with("client_id", asked.client_id)
            .with("redirect_uri", asked.redirect_uri)
            .asking_for(asked.target)
            .with_secret("state", &state)
            .with("code_challenge", verifier.challenge())
            .with("code_challenge_method", pkce::METHOD);
        if let Some(nonce) = &nonce {
            parameters = parameters.with_secret("nonce", nonce);
        }
        if let Some(key) = asked.proof_key {
            parameters = parameters.with("dpop_jkt", dpop::thumbprint(key)?);
        }
        Ok(Self {
            endpoint,
            redirect_uri: asked.redirect_uri.to_owned(),
            state,
            verifier,
            nonce,
            proof_key: asked.proof_key.cloned(),
            parameters: parameters.with_extra(asked.extra),
            issuer: issuer.clone(),
            redirects: *redirects,
        })
    }

    /// Returns the page to visit. The endpoint keeps the query that it has by itself (RFC 6749 §3.1), except for what is
    /// asked here: no parameter may come twice.
    pub(crate) fn url(&self) -> Url {
        let mut url = self.endpoint.url().clone();
        let is_ours =
            |pair: &str| form_urlencoded::parse(pair.as_bytes()).all(|(name, _)| self.parameters.has(&name));
        let mut query: String = url
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !is_ours(pair))
            .flat_map(|pair| [pair, "&"])
            .collect();
        query.push_str(&self.parameters.encode());
        url.set_query(Some(&query));
        url
    }

    /// Returns the host of the page, for messages.
    pub(crate) fn host(&self) -> String {
        self.endpoint.host()
    }

    /// Returns where the browser is sent back to, letter for letter.
    pub(crate) fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Returns what proves, at the exchange, that the code is ours.
    pub(crate) fn verifier(&self) -> &SecretString {
        self.verifier.secret()
    }

    /// Returns what an ID token must repeat.
    pub(crate) fn nonce(&self) -> Option<&SecretString> {
        self.nonce.as_ref()
    }

    /// Returns the key that the tokens are to be bound to.
    pub(crate) fn proof_key(&self) -> Option<&ProofKey> {
        self.proof_key.as_ref()
    }

    /// Returns all that the page is asked with.
    pub(crate) fn parameters(&self) -> Form {
        self.parameters.clone()
    }

    /// Says what the query of a redirect is. It can be called as often as somebody sends something.
    pub(crate) fn read(&self, query: &str) -> Reading {
        let mut values: BTreeMap<&str, Zeroizing<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(name) = READ.into_iter().find(|known| *known == name) else { continue };
            if values.insert(name, Zeroizing::new(value.into_owned())).is_some() {
                return Reading::Stray("This address has something twice, so it means nothing.");
            }
        }
        let value = |name| values.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty());
        match value("state") {
            None => return Reading::Stray("This address is not the end of a login."),
            Some(state) if !self.is_ours(state) => {
                return Reading::Stray("This address belongs to another login, perhaps to an earlier one.");
            }
            Some(_) => {}
        }
        if let Some(foreign) = self.foreign(value("iss")) {
            return Reading::Foreign(foreign);
        }
        let text = |name| value(name).map(str::to_owned);
        match (value("code"), text("error")) {
            (Some(code), None) => Reading::Code(code.into()),
            (None, Some(error)) => Reading::Refused(Refusal {
                code: error.into(),
                description: text("error_description"),
                uri: text("error_uri"),
            }),
            (Some(_), Some(_)) => Reading::Stray("This address says both yes and no."),
            (None, None) => Reading::Stray("This address has neither a code nor an error."),
        }
    }

    /// Compares hashes: how long that takes tells nothing about the state.
    fn is_ours(&self, state: &str) -> bool {
        Sha256::digest(state) == Sha256::digest(self.state.expose_secret())
    }

    /// Tells why a redirect is from another issuer, if it is (RFC 9207 §2.4).
    fn foreign(&self, named: Option<&str>) -> Option<&'static str> {
        match (named, &self.issuer, self.redirects) {
            (Some(named), Some(issuer), _) => {
                (named != issuer).then_some("This answer is from another issuer.")
            }
            (None, _, Redirects::NameIssuer) => Some("This answer does not say which issuer it is from."),
            (Some(_), None, _) | (None, _, Redirects::MayNameIssuer) => None,
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Attempt {
    /// Returns the state that the page is asked with.
    pub(crate) fn state(&self) -> &str {
        self.state.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::LoopbackHttp;
    use crate::token::Scope;

    const REDIRECT: &str = "http://127.0.0.1:53593/callback";

    fn url(text: &str) -> EndpointUrl {
        EndpointUrl::parse(text, LoopbackHttp::Refused).unwrap()
    }

    fn endpoints(authorization: &str) -> Endpoints {
        Endpoints {
            authorization: Some(url(authorization)),
            issuer: Some("https://i".to_owned()),
            ..Endpoints::at(url("https://i/token"))
        }
    }

    fn attempt_at(endpoints: &Endpoints, scope: &str) -> Attempt {
        attempt_with(endpoints, scope, None)
    }

    fn attempt_with(endpoints: &Endpoints, scope: &str, proof_key: Option<&ProofKey>) -> Attempt {
        let target = Target {
            scope: Scope::parse(scope),
            audience: Some("aud".to_owned()),
            resources: ["https://api/b", "https://api/a"].map(str::to_owned).into(),
        };
        let extra = BTreeMap::from([("prompt".to_owned(), "consent".to_owned())]);
        let asked = Asked {
            endpoints,
            client_id: "cli",
            redirect_uri: REDIRECT,
            target: &target,
            extra: &extra,
            proof_key,
        };
        Attempt::new(asked).unwrap()
    }

    fn attempt() -> Attempt {
        attempt_at(&endpoints("https://i/authorize"), "openid all")
    }

    fn pairs(attempt: &Attempt) -> Vec<(String, String)> {
        attempt.url().query_pairs().into_owned().collect()
    }

    #[test]
    fn the_page_hears_of_the_key_that_the_tokens_are_to_be_bound_to_9449_2() {
        let key = dpop::fresh_key().unwrap();
        let endpoints = endpoints("https://i/authorize?dpop_jkt=mine");
        let named = |attempt: &Attempt| -> Vec<String> {
            let pairs = pairs(attempt).into_iter();
            pairs.filter(|(name, _)| name == "dpop_jkt").map(|(_, value)| value).collect()
        };
        let attempt = attempt_with(&endpoints, "all", Some(&key));
        assert_eq!(named(&attempt), [dpop::thumbprint(&key).unwrap()]);
        assert_eq!(attempt.proof_key().unwrap().expose_pkcs8(), key.expose_pkcs8());
        assert_eq!(named(&attempt_at(&endpoints, "all")), ["mine"]);
        let broken = ProofKey::from_pkcs8(Zeroizing::new(Vec::new()));
        let extra = BTreeMap::new();
        let asked = Asked {
            endpoints: &endpoints,
            client_id: "cli",
            redirect_uri: REDIRECT,
            target: &Target::default(),
            extra: &extra,
            proof_key: Some(&broken),
        };
        assert!(matches!(Attempt::new(asked), Err(Error::NoKey(_))));
    }

    #[test]
    fn the_page_is_asked_for_everything_once_and_keeps_its_own_query_7636_2_9700_6() {
        let own = "https://i/authorize?tenant=a%20b&&response_type=token&p=1%2F2&state=fixed";
        let attempt = attempt_at(&endpoints(own), "openid all");
        assert!(
            attempt
                .url()
                .as_str()
                .starts_with("https://i/authorize?tenant=a%20b&p=1%2F2&response_type=code&")
        );
        let pairs = pairs(&attempt);
        let value = |name: &str| {
            let found: Vec<_> =
                pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].as_str()
        };
        for (name, expected) in [
            ("tenant", "a b"),
            ("response_type", "code"),
            ("client_id", "cli"),
            ("redirect_uri", REDIRECT),
            ("scope", "all openid"),
            ("audience", "aud"),
            ("prompt", "consent"),
            ("state", attempt.state()),
            ("nonce", attempt.nonce().unwrap().expose_secret()),
            ("code_challenge", &attempt.verifier.challenge()),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        let resources: Vec<_> =
            pairs.iter().filter(|(name, _)| name == "resource").map(|(_, value)| value).collect();
        assert_eq!(resources, ["https://api/a", "https://api/b"]);
        assert!(!attempt.url().as_str().contains(attempt.verifier().expose_secret()));
    }

    #[test]
    fn a_nonce_goes_with_openid_alone() {
        let without = attempt_at(&endpoints("https://i/authorize"), "all");
        assert!(without.nonce().is_none());
        assert!(pairs(&without).iter().all(|(name, _)| name != "nonce"));
    }

    #[test]
    fn every_attempt_has_secrets_of_its_own_7636_3() {
        let [one, other] = [attempt(), attempt()];
        assert_ne!(one.state(), other.state());
        assert_ne!(one.verifier.challenge(), other.verifier.challenge());
        assert_ne!(one.nonce().unwrap().expose_secret(), other.nonce().unwrap().expose_secret());
        // The answer to one is nothing to the other: a swapped code never gets to a token endpoint.
        let query = format!("code=C&state={}", one.state());
        assert!(matches!(other.read(&query), Reading::Stray(_)));
        assert!(matches!(one.read(&query), Reading::Code(_)));
    }

    #[test]
    fn an_issuer_without_s256_gets_no_request_7636_2() {
        for (endpoints, sentence) in [
            (Endpoints { s256: S256::Lacking, ..endpoints("https://i/a") }, "S256"),
            (Endpoints { authorization: None, ..endpoints("https://i/a") }, "authorization_endpoint"),
        ] {
            let target = Target::default();
            let extra = BTreeMap::new();
            let asked = Asked {
                endpoints: &endpoints,
                client_id: "c",
                redirect_uri: REDIRECT,
                target: &target,
                extra: &extra,
                proof_key: None,
            };
            let failure = Attempt::new(asked).unwrap_err().classify();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{failure}");
            assert!(failure.to_string().contains(sentence), "{failure}");
        }
    }

    #[test]
    fn what_has_not_our_state_is_stray_whatever_else_it_has_6749_13_6749_14_7636_4_9700_3() {
        let attempt = attempt();
        let state = attempt.state().to_owned();
        let almost = format!("{}x", &state[..state.len() - 1]);
        for query in [
            String::new(),
            "code=C".to_owned(),
            "code=C&state=".to_owned(),
            "code=C&state=wrong".to_owned(),
            format!("code=C&state={almost}"),
            format!("code=C&state={state}x"),
            format!("code=C&state={}", state.to_uppercase()),
            "error=access_denied".to_owned(),
            "error=access_denied&state=wrong".to_owned(),
            "favicon.ico".to_owned(),
            // Twice is nothing, even where both are right.
            format!("code=C&state={state}&state={state}"),
            format!("code=C&code=D&state={state}"),
            format!("code=C&code=&state={state}"),
            format!("code=C&iss=https://i&iss=https://i&state={state}"),
            format!("error=a&error=b&state={state}"),
            // Neither an answer nor a refusal.
            format!("state={state}"),
            format!("code=&state={state}"),
            format!("code=C&error=access_denied&state={state}"),
        ] {
            assert!(matches!(attempt.read(&query), Reading::Stray(_)), "{query}");
        }
        // None of it has used anything up.
        let Reading::Code(code) = attempt.read(&format!("x=1&x=2&code=a%2Fb%2B&state={state}")) else {
            panic!("a code")
        };
        assert_eq!(code.expose_secret(), "a/b+");
    }

    #[test]
    fn an_answer_counts_only_from_the_issuer_that_was_asked_9207_1_9207_2_9207_3_9207_4() {
        let silent = Some("https://i".to_owned());
        for (issuer, redirects, iss, is_ours) in [
            (silent.clone(), Redirects::MayNameIssuer, None, true),
            (silent.clone(), Redirects::MayNameIssuer, Some("https%3A%2F%2Fi"), true),
            (silent.clone(), Redirects::MayNameIssuer, Some("https://i/"), false),
            (silent.clone(), Redirects::MayNameIssuer, Some("https://evil"), false),
            (silent.clone(), Redirects::NameIssuer, None, false),
            (silent.clone(), Redirects::NameIssuer, Some(""), false),
            (silent.clone(), Redirects::NameIssuer, Some("https://i"), true),
            (silent.clone(), Redirects::NameIssuer, Some("https://I"), false),
            (silent, Redirects::NameIssuer, Some("https://evil"), false),
            // Without an identifier there is nothing to compare with.
            (None, Redirects::MayNameIssuer, Some("https://i"), true),
        ] {
            let endpoints = Endpoints { issuer, redirects, ..endpoints("https://i/authorize") };
            let attempt = attempt_at(&endpoints, "all");
            let named = iss.map(|iss| format!("&iss={iss}")).unwrap_or_default();
            for answer in ["code=C", "error=access_denied"] {
                let reading = attempt.read(&format!("{answer}&state={}{named}", attempt.state()));
                assert_eq!(
                    !matches!(reading, Reading::Foreign(_)),
                    is_ours,
                    "{redirects:?} {iss:?}: {reading:?}"
                );
                assert_eq!(matches!(reading, Reading::Code(_) | Reading::Refused(_)), is_ours);
            }
        }
    }

    #[test]
    fn a_refusal_is_told_without_what_could_steer_a_terminal_6749_9_6749_14() {
        let attempt = attempt();
        for (error, expected) in [
            ("access_denied", "refused"),
            ("login_required", "refused"),
            ("odd%1b%5b2J", "refused"),
            ("server_error", "transient"),
            ("temporarily_unavailable", "transient"),
            ("invalid_scope", "misconfigured"),
            ("invalid_target", "misconfigured"),
            ("invalid_request", "misconfigured"),
            ("unauthorized_client", "misconfigured"),
            ("unsupported_response_type", "misconfigured"),
        ] {
            let description = "no%0d%0a%1b%5b31m%e2%80%aeway";
            let query = format!("error={error}&error_description={description}&state={}", attempt.state());
            let Reading::Refused(refusal) = attempt.read(&query) else { panic!("{query}") };
            let failure = refusal.in_redirect(&attempt.host());
            let kind = match failure {
                Failure::Refused { .. } => "refused",
                Failure::Transient { .. } | Failure::Ambiguous { .. } => "transient",
                Failure::Misconfigured { .. } => "misconfigured",
                Failure::LoginRequired => "login required",
            };
            assert_eq!(kind, expected, "{error}");
            let text = failure.to_string();
            assert!(text.contains("(no[31mway)") && !text.contains('\u{1b}'), "{text:?}");
        }
    }

    #[test]
    fn the_debug_form_of_an_attempt_holds_no_secret() {
        let attempt = attempt();
        let text =
            format!("{attempt:?} {:?}", attempt.read(&format!("code=CANARY&state={}", attempt.state())));
        for secret in ["CANARY", attempt.state(), attempt.verifier().expose_secret()] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}
