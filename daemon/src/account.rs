//! An account is settings, nothing running: which issuer, which client, which grant, for which scope.

pub mod registry;

use keyfob_protocol::account::{AccountName, GrantKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
