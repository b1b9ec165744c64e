//! A Flyte Admin made of flyteidl's own stubs: it tells how to log in, and answers whoever has a good token.
//!
//! It judges a token as a resource server does, by asking the issuer. What it says it saw is proof; what a client says
//! is not.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::companion::{Companion, installed, source};
use crate::oidc_provider::OidcProvider;

/// A running Flyte Admin. It is gone when this is dropped.
#[derive(Debug)]
pub struct FlyteAdmin {
    program: Companion,
    endpoint: String,
}

/// How a call to it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It carried a token that the issuer knows and that has not expired.
    Good,
    /// It carried another one.
    Refused,
    /// It carried none, as the first call of every flytekit client.
    Missing,
}

impl FlyteAdmin {
    /// Starts one that trusts an issuer and expects tokens in the header `authorization`.
    pub fn start(issuer: &OidcProvider) -> Self {
        Self::start_with(issuer, &[])
    }

    /// Starts one that expects tokens in a header of its own (`authorization_metadata_key`).
    pub fn start_with_header(issuer: &OidcProvider, header: &str) -> Self {
        Self::start_with(issuer, &["--authorization-metadata-key", header])
    }

    fn start_with(issuer: &OidcProvider, more: &[&str]) -> Self {
        let program = Companion::start(
            Command::new(installed("venv/bin/python"))
                .arg(source("flyte_admin.py"))
                .args(["--issuer", issuer.url(), "--client-id", OidcProvider::PUBLIC_CLIENT])
                .args(["--scope", "all", "--scope", "offline_access", "--introspection-client"])
                .args(OidcProvider::RESOURCE_SERVER)
                .args(more),
        );
        let endpoint = program.first("ready")["endpoint"].as_str().unwrap().to_owned();
        Self { program, endpoint }
    }

    /// Returns its host and port.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns how many calls have ended in this way so far.
    pub fn calls(&self, outcome: Outcome) -> usize {
        self.tokens(outcome).len()
    }

    /// Returns the hashes of the good tokens that it has seen so far.
    pub fn good_tokens(&self) -> BTreeSet<String> {
        self.tokens(Outcome::Good).into_iter().collect()
    }

    fn tokens(&self, outcome: Outcome) -> Vec<String> {
        let outcome = match outcome {
            Outcome::Good => "good",
            Outcome::Refused => "refused",
            Outcome::Missing => "missing",
        };
        let calls = self.program.matching(&json!({ "event": "rpc", "outcome": outcome }));
        calls.iter().map(|call| call["token"].as_str().unwrap().to_owned()).collect()
    }
}
