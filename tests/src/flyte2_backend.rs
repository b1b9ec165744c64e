//! A Flyte 2 backend: it speaks Connect over TLS, and wants its token in `authorization`.

use std::ops::Deref;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::oidc_provider::OidcProvider;
use crate::resource_server::ResourceServer;

/// A running Flyte 2 backend. It is gone when this is dropped.
#[derive(Debug)]
pub struct Flyte2Backend {
    server: ResourceServer,
    authority: NamedTempFile,
}

impl Flyte2Backend {
    /// Starts one that trusts an issuer.
    ///
    /// # Panics
    /// Panics where it cannot be started.
    pub fn start(issuer: &OidcProvider) -> Self {
        let authority = NamedTempFile::new().unwrap();
        let file = authority.path().to_str().unwrap();
        let server = ResourceServer::start("flyte2_backend.py", issuer, &["--authority-file", file]);
        Self { server, authority }
    }

    /// Returns the file with the certificate of the authority that vouches for it.
    pub fn authority(&self) -> &Path {
        self.authority.path()
    }
}

impl Deref for Flyte2Backend {
    type Target = ResourceServer;

    fn deref(&self) -> &ResourceServer {
        &self.server
    }
}
