//! A Flyte Admin made of flyteidl's own stubs: it tells how to log in, and answers whoever has a good token.
//!
//! What it says it saw is proof; what a client says is not.

use std::ops::Deref;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::oidc_provider::OidcProvider;
use crate::resource_server::ResourceServer;

/// A running Flyte Admin. It is gone when this is dropped.
#[derive(Debug)]
pub struct FlyteAdmin {
    server: ResourceServer,
    authority: Option<NamedTempFile>,
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

    /// Starts one that expects tokens in a header of its own, and for people who log in in a browser. They come back to
    /// any port, so that stories can run side by side; a real one names a port. This issuer gives a refresh token to
    /// who has consented anew, so every request for a code says so.
    pub fn start_for_browsers(issuer: &OidcProvider, header: &str) -> Self {
        let redirect = ["--redirect-uri", "http://localhost/callback"];
        let query = ["--authorization-query", "prompt=consent"];
        let header = ["--authorization-metadata-key", header];
        Self::start_with(issuer, &[redirect, query, header].concat())
    }

    /// Starts one that speaks TLS, as [`Self::authority`] vouches.
    ///
    /// # Panics
    /// Panics where it cannot be started.
    pub fn start_with_tls(issuer: &OidcProvider) -> Self {
        let authority = NamedTempFile::new().unwrap();
        let file = authority.path().to_str().unwrap();
        let admin = Self::start_with(issuer, &["--authority-file", file]);
        Self { authority: Some(authority), ..admin }
    }

    /// Returns the file with the certificate of the authority that vouches for it.
    ///
    /// # Panics
    /// Panics where it speaks no TLS.
    pub fn authority(&self) -> &Path {
        self.authority.as_ref().expect("an authority is there with TLS alone").path()
    }

    fn start_with(issuer: &OidcProvider, more: &[&str]) -> Self {
        let says =
            ["--client-id", OidcProvider::PUBLIC_CLIENT, "--scope", "all", "--scope", "offline_access"];
        let arguments: Vec<_> = says.into_iter().chain(more.iter().copied()).collect();
        Self { server: ResourceServer::start("flyte_admin.py", issuer, &arguments), authority: None }
    }
}

impl Deref for FlyteAdmin {
    type Target = ResourceServer;

    fn deref(&self) -> &ResourceServer {
        &self.server
    }
}
