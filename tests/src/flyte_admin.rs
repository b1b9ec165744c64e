//! A Flyte Admin made of flyteidl's own stubs: it tells how to log in, and answers whoever has a good token.
//!
//! What it says it saw is proof; what a client says is not.

use std::ops::Deref;

use crate::oidc_provider::OidcProvider;
use crate::resource_server::ResourceServer;

/// A running Flyte Admin. It is gone when this is dropped.
#[derive(Debug)]
pub struct FlyteAdmin {
    server: ResourceServer,
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

    /// Starts one that refuses a token with the code UNKNOWN, as one behind some proxies does.
    pub fn start_with_unknown(issuer: &OidcProvider) -> Self {
        Self::start_with(issuer, &["--refusal", "UNKNOWN"])
    }

    fn start_with(issuer: &OidcProvider, more: &[&str]) -> Self {
        let says =
            ["--client-id", OidcProvider::PUBLIC_CLIENT, "--scope", "all", "--scope", "offline_access"];
        let arguments: Vec<_> = says.into_iter().chain(more.iter().copied()).collect();
        Self { server: ResourceServer::start("flyte_admin.py", issuer, &arguments) }
    }
}

impl Deref for FlyteAdmin {
    type Target = ResourceServer;

    fn deref(&self) -> &ResourceServer {
        &self.server
    }
}
