//! A server that takes tokens, and tells how each call went (`tests/real/resource_server.py`).
//!
//! It judges a token as resource servers do, by asking the issuer.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;

use crate::companion::{Companion, installed, source};
use crate::oidc_provider::OidcProvider;
use crate::patience::{SOON, eventually};

/// A running server. It is gone when this is dropped.
#[derive(Debug)]
pub struct ResourceServer {
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
    /// It carried none, as the first call of every Flyte client.
    Missing,
}

impl ResourceServer {
    /// Starts a program of `tests/real` that trusts an issuer.
    pub(crate) fn start(program: &str, issuer: &OidcProvider, arguments: &[&str]) -> Self {
        let program = Companion::start(
            Command::new(installed("venv/bin/python"))
                .arg(source(program))
                .args(["--issuer", issuer.url(), "--introspection-client"])
                .args(OidcProvider::RESOURCE_SERVER)
                .args(arguments),
        );
        let endpoint = program.first("ready")["endpoint"].as_str().unwrap().to_owned();
        Self { program, endpoint }
    }

    /// Returns its host and port.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns how often it has told how to log in so far.
    pub fn discoveries(&self) -> usize {
        self.program.matching(&json!({ "event": "oauth2_metadata" })).len()
    }

    /// Returns how many calls have ended in this way so far.
    pub fn calls(&self, outcome: Outcome) -> usize {
        self.tokens(outcome).len()
    }

    /// Returns the hashes of the good tokens that it has seen so far.
    pub fn good_tokens(&self) -> BTreeSet<String> {
        self.tokens(Outcome::Good).into_iter().collect()
    }

    /// Has it refuse every token that it has seen so far, though none has expired.
    pub fn refuse(&self) {
        self.order("refuse");
    }

    /// Has it refuse every token from now on.
    pub fn refuse_all(&self) {
        self.order("refuse-all");
    }

    fn order(&self, order: &str) {
        let obeyed = || self.program.matching(&json!({ "event": "obeyed" })).len();
        let before = obeyed();
        self.program.tell(order);
        eventually(SOON, "an order obeyed", || obeyed() > before);
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
