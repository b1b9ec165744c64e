//! A request to an endpoint of the issuer, in the name of a client.
//!
//! The thing to get wrong: an issuer that wants another nonce in a proof of possession has looked at nothing else
//! (RFC 9449 §8). To ask again then, once, is the same request still: no second presentation of what it carries.

use reqwest::header::{AUTHORIZATION, HeaderName};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::clock::Now;
use crate::oauth::EndpointUrl;
use crate::oauth::answer::Answer;
use crate::oauth::client_auth::Credentials;
use crate::oauth::dpop::{self, Occasion};
use crate::oauth::error::{Error, Kind, Sent};
use crate::oauth::form::Form;
use crate::oauth::http::{ATTEMPT, Http};
use crate::token::ProofKey;

/// Who asks whom, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The way there.
    pub(crate) http: &'a Http,
    /// Whom.
    pub(crate) endpoint: &'a EndpointUrl,
    /// In whose name.
    pub(crate) credentials: &'a Credentials,
    /// The time just before the request is sent: lifetimes are counted from here.
    pub(crate) started: Now,
    /// The key that what it brings is bound to: a proof that we have it goes along.
    pub(crate) proof_key: Option<&'a ProofKey>,
}

impl Request<'_> {
    /// Sends a form, once, and reads the answer.
    pub(crate) async fn post<T>(
        &self,
        form: Form,
        read: impl FnOnce(&Answer) -> Result<T, Kind>,
    ) -> Result<T, Error> {
        let answer = self.send(&form).await;
        answer.and_then(|answer| read(&answer)).map_err(|kind| Error {
            host: self.endpoint.host(),
            kind: kind
                .without(form.secrets().chain(self.credentials.secret().map(ExposeSecret::expose_secret))),
        })
    }

    /// Sends a form, once, and returns the whole answer unread.
    pub(crate) async fn send(&self, form: &Form) -> Result<Answer, Kind> {
        if self.proof_key.is_none() {
            return self.send_with(form, None).await;
        }
        let sent = async {
            let nonce = self.http.nonce_at(self.endpoint);
            let answer = self.send_with(form, nonce.as_deref()).await?;
            let newest = self.http.nonce_at(self.endpoint);
            if !answer.demands_nonce() || newest.is_none() || newest == nonce {
                return Ok(answer);
            }
            tracing::debug!(endpoint = %self.endpoint, "asking again with the nonce that the issuer wants");
            self.send_with(form, newest.as_deref()).await
        };
        // Both times together take no longer than one may.
        timeout(ATTEMPT, sent).await.unwrap_or_else(|_| {
            Err(Kind::Transport { sent: Sent::Maybe, cause: format!("not within {ATTEMPT:?}") })
        })
    }

    /// Sends a form with a proof and an assertion of its own, where there are any.
    async fn send_with(&self, form: &Form, nonce: Option<&str>) -> Result<Answer, Kind> {
        let unsigned = |cause: String| Kind::Transport { sent: Sent::No, cause };
        let now = self.http.time_at(self.endpoint, self.started);
        let (form, authorization) =
            self.credentials.apply(form.clone(), now).map_err(|not| unsigned(not.to_string()))?;
        let occasion = Occasion { endpoint: self.endpoint, nonce, now };
        let proof = self.proof_key.map(|key| dpop::proof(key, occasion)).transpose();
        let proof = proof.map_err(|none| unsigned(none.to_string()))?;
        let authorization = authorization.map(|value| (AUTHORIZATION, value));
        let proof = proof.map(|value| (HeaderName::from_static(dpop::HEADER), value));
        let headers: Vec<_> = authorization.into_iter().chain(proof).collect();
        self.http.post(self.endpoint, &form, &headers, self.started).await
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::*;
    use crate::clock::Clock;
    use crate::oauth::client_auth::Proof;
    use crate::oauth::error::Presented;
    use crate::oauth::scripted_server::{ScriptedServer, answer, json};
    use crate::oauth::transport::Transport;
    use crate::secret::LockedText;
    use crate::token::failure::Failure;

    const TOKENS: &str = r#"{"access_token":"AT","token_type":"Bearer"}"#;
    const DEMAND: &str = r#"{"error":"use_dpop_nonce"}"#;

    fn with_nonce(status: u16, nonce: &str, body: &str) -> Vec<u8> {
        answer(status, &format!("DPoP-Nonce: {nonce}\r\n"), body)
    }

    /// Returns the claims of each proof that a server got.
    fn proofs(server: &ScriptedServer) -> Vec<Value> {
        let requests = server.requests();
        let proof = |request: &String| {
            let (head, _) = request.split_once("\r\n\r\n").unwrap();
            let proofs: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("dpop: ")).collect();
            let [proof] = proofs.try_into().unwrap();
            let claims = BASE64_URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).unwrap()).unwrap();
            serde_json::from_slice(&claims).unwrap()
        };
        requests.iter().map(proof).collect()
    }

    fn nonces(server: &ScriptedServer) -> Vec<Option<String>> {
        proofs(server).iter().map(|claims| claims["nonce"].as_str().map(str::to_owned)).collect()
    }

    /// Sends a request to a server, by a client that remembers what it heard.
    async fn sent(http: &Http, server: &ScriptedServer, key: Option<&ProofKey>) -> Result<Answer, Kind> {
        let endpoint = server.endpoint("/token?tenant=1");
        let credentials = Credentials { client_id: "cli".to_owned(), proof: Proof::None };
        let started = Clock::system().now();
        let (credentials, endpoint) = (&credentials, &endpoint);
        let request = Request { http, endpoint, credentials, started, proof_key: key };
        request.send(&Form::default().with_secret("refresh_token", &LockedText::from("RT"))).await
    }

    #[tokio::test]
    async fn a_demand_for_a_nonce_is_met_at_once_and_by_the_newest_from_then_on_9449_3() {
        let (http, key) = (Http::of(&Transport::default()), dpop::fresh_key().unwrap());
        let script = [with_nonce(400, "n1", DEMAND), with_nonce(200, "n2", TOKENS), json(200, TOKENS)];
        let server = ScriptedServer::answering(script).await;
        assert_eq!(sent(&http, &server, Some(&key)).await.unwrap().status, 200);
        // Without a word about nonces the last one stays in force.
        for _ in 0..2 {
            assert_eq!(sent(&http, &server, Some(&key)).await.unwrap().status, 200);
        }
        let expected = [None, Some("n1"), Some("n2"), Some("n2")].map(|nonce| nonce.map(str::to_owned));
        assert_eq!(nonces(&server), expected);
        let proofs = proofs(&server);
        assert_ne!(proofs[0]["jti"], proofs[1]["jti"], "a proof is for one request");
        assert_eq!(proofs[0]["htu"], server.endpoint("/token").to_string());
        // What has expired is replaced, by 401 as well.
        server.then([with_nonce(401, "n3", DEMAND), json(200, TOKENS)]);
        assert_eq!(sent(&http, &server, Some(&key)).await.unwrap().status, 200);
        assert_eq!(nonces(&server)[4..], [Some("n2".to_owned()), Some("n3".to_owned())]);
    }

    #[tokio::test]
    async fn a_storm_of_nonces_ends_after_two_tries_and_costs_no_login_9449_3_i11() {
        let (http, key) = (Http::of(&Transport::default()), dpop::fresh_key().unwrap());
        let storm = ["s1", "s2", "s3", "s4"].map(|nonce| with_nonce(400, nonce, DEMAND));
        let server = ScriptedServer::answering(storm).await;
        for tries in [2, 4] {
            let kind = sent(&http, &server, Some(&key)).await.unwrap().failure();
            assert_eq!(server.requests().len(), tries);
            for presented in [Presented::RefreshToken, Presented::DeviceCode, Presented::AuthorizationCode] {
                let failure = Error { host: "i".to_owned(), kind: kind.clone() }.classify(presented);
                assert!(matches!(failure, Failure::Transient { .. }), "{failure}");
            }
        }
    }

    #[tokio::test]
    async fn only_a_demand_with_a_nonce_that_is_new_is_asked_again_9449_3() {
        for (script, tries) in [
            (json(400, DEMAND), 1),
            (with_nonce(400, "no good", DEMAND), 1),
            (with_nonce(400, "n1", r#"{"error":"invalid_dpop_proof"}"#), 1),
            (with_nonce(400, "n1", r#"{"error":"invalid_grant"}"#), 1),
            (with_nonce(503, "n1", DEMAND), 1),
            (with_nonce(200, "n1", DEMAND), 1),
            // The same again: it would be refused again.
            (with_nonce(400, "n1", DEMAND), 2),
        ] {
            let (http, key) = (Http::of(&Transport::default()), dpop::fresh_key().unwrap());
            let server = ScriptedServer::answering([script.clone()]).await;
            sent(&http, &server, Some(&key)).await.unwrap();
            let script = String::from_utf8_lossy(&script);
            assert_eq!(server.requests().len(), tries, "{script}");
            sent(&http, &server, Some(&key)).await.unwrap();
            assert_eq!(server.requests().len(), tries + 1, "{script}");
        }
    }

    #[tokio::test]
    async fn without_a_key_there_is_no_proof_and_no_second_try() {
        let http = Http::of(&Transport::default());
        let server = ScriptedServer::answering([with_nonce(400, "n1", DEMAND)]).await;
        assert_eq!(sent(&http, &server, None).await.unwrap().status, 400);
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        assert!(!requests[0].to_ascii_lowercase().contains("dpop"), "{requests:?}");
    }

    #[tokio::test]
    async fn what_is_no_key_is_told_before_anything_is_sent() {
        let server = ScriptedServer::answering([json(200, TOKENS)]).await;
        let key = ProofKey::from_pkcs8(zeroize::Zeroizing::new(b"CANARY".to_vec()));
        let kind = sent(&Http::of(&Transport::default()), &server, Some(&key)).await.unwrap_err();
        assert!(
            matches!(&kind, Kind::Transport { sent: Sent::No, cause } if cause.contains("log in again")),
            "{kind}"
        );
        assert!(server.requests().is_empty());
    }
}
