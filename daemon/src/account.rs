//! An account is settings, nothing running: which issuer, which client, which grant, for which scope.

pub mod registry;
pub(crate) mod suggestion;

use std::sync::Arc;

use keyfob_protocol::account::{AccountName, GrantKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::grant::TokenSource;
use crate::grant::client_credentials::ClientCredentials;
use crate::grant::device_code::DeviceCode;
use crate::grant::issuer::Issuer;
use crate::grant::program::Environment;
use crate::oauth::discovery::Discovery;
use crate::oauth::http::Http;
use crate::oauth::{Client, LoopbackHttp, Server};
use crate::token::Scope;

/// One named login, as the configuration has it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// The authorization server.
    pub server: Server,
    /// The client that we are.
    pub client: Client,
    /// How its tokens are obtained.
    pub grant: Grant,
    /// What is asked for; empty leaves it to the issuer.
    pub scope: Scope,
    /// The `audience` parameter of the requests, where the issuer wants one.
    pub audience: Option<String>,
    /// Whether plain http to loopback is acceptable.
    pub loopback: LoopbackHttp,
}

/// How tokens are obtained: a closed set, matched in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// RFC 8628.
    DeviceCode,
    /// RFC 6749 §4.4.
    ClientCredentials,
}

impl Grant {
    /// Returns the grant's name on the wire.
    pub fn kind(self) -> GrantKind {
        match self {
            Self::DeviceCode => GrantKind::DeviceCode,
            Self::ClientCredentials => GrantKind::ClientCredentials,
        }
    }
}

/// What stored tokens are bound to: server, client, grant, scope and audience. Tokens that were obtained under another
/// fingerprint are not used, so that no token meant for one server gets to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(String);

impl Account {
    /// Returns what this account's tokens are bound to.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let scope = self.scope.to_string();
        let server = self.server.to_string();
        let kind = match self.grant {
            Grant::DeviceCode => "device_code",
            Grant::ClientCredentials => "client_credentials",
        };
        for part in [&server, &self.client.id, kind, &scope, self.audience.as_deref().unwrap_or("")] {
            // No part can hold a NUL, so no two accounts run together into the same text.
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Fingerprint(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns what obtains this account's tokens. `environment` is what its programs get.
    pub fn source(&self, http: &Http, clock: &Clock, environment: &Environment) -> Arc<dyn TokenSource> {
        let issuer = Arc::new(Issuer {
            discovery: Discovery::new(self.server.clone(), http.clone()),
            http: http.clone(),
            clock: clock.clone(),
            client: self.client.clone(),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            loopback: self.loopback,
            environment: environment.clone(),
        });
        match self.grant {
            Grant::DeviceCode => Arc::new(DeviceCode(issuer)),
            Grant::ClientCredentials => Arc::new(ClientCredentials(issuer)),
        }
    }

    /// Returns, in words, the settings that weaken this account's protection.
    pub fn warnings(&self) -> Vec<String> {
        match self.loopback {
            LoopbackHttp::Allowed => {
                vec!["plain http to loopback is allowed (tls.allow_http_loopback)".to_owned()]
            }
            LoopbackHttp::Refused => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::grant::Attendance;
    use crate::oauth::scripted_server::{ScriptedServer, json};
    use crate::oauth::{ClientAuthentication, ClientSecret};

    #[tokio::test]
    async fn an_account_finds_its_issuer_and_obtains_tokens() {
        let server = ScriptedServer::answering([json(404, "")]).await;
        let issuer = server.issuer();
        let metadata = format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}"#);
        let tokens = r#"{"access_token":"AT","token_type":"bearer","expires_in":60}"#;
        server.then([json(404, ""), json(200, &metadata), json(200, tokens)]);
        let account = Account {
            name: "ci".parse().unwrap(),
            server: Server::Discovered { issuer, loopback: LoopbackHttp::Allowed },
            client: Client {
                id: "ci".to_owned(),
                authentication: ClientAuthentication::SecretBasic(ClientSecret::Value("s".into())),
            },
            grant: Grant::ClientCredentials,
            scope: Scope::parse("all"),
            audience: Some("aud".to_owned()),
            loopback: LoopbackHttp::Allowed,
        };
        let source = account.source(&Http::new().unwrap(), &Clock::system(), &Environment::from_own([]));
        assert_eq!(source.attendance(), Attendance::Unattended);
        for _ in 0..2 {
            let tokens = source.renew(None).await.unwrap();
            assert_eq!(tokens.access.secret().expose_secret(), "AT");
        }
        // Two for the metadata, once; then one for each renewal.
        let requests = server.requests();
        assert_eq!(requests.len(), 4);
        assert!(requests[3].contains("\r\nauthorization: Basic Y2k6cw==\r\n"), "{}", requests[3]);
        assert!(requests[3].ends_with("\r\n\r\ngrant_type=client_credentials&scope=all&audience=aud"));
    }
}
