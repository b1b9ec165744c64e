//! How an account reaches the other side: whose certificates it believes, and through which proxy.
//!
//! It is one policy for discovery, OAuth, revocation and gRPC alike. The thing to get wrong: a CA file or a proxy that
//! cannot be used is an error. Nothing falls back to another way in silence.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use url::Url;

use crate::oauth::proxy::{Proxy, ProxyUrl};

/// The largest CA file. The authorities of a whole system take a quarter of this.
const LARGEST_CA_FILE: u64 = 1 << 20;

/// How an account reaches the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Whose certificates are believed.
    pub trust: Trust,
    /// What stands between.
    pub proxy: Proxy,
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    #[default]
    System,
    /// Those, and the ones of the authorities in this file.
    ///
    /// The Go and Python clients of Flyte trust the file alone, and then do not use it for OAuth. Here one account talks to
    /// a Flyte endpoint behind a company's own authority and to a public issuer: the file alone would lock the issuer out.
    AlsoFile(PathBuf),
    /// Anybody's. Whoever stands between can read and change everything.
    Anyone,
}

/// Why nothing can be reached by a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The CA file.
    #[error(
        "tls.ca_file {}: {cause}; put the CA's certificate there as PEM, then run: keyfob reload", .path.display()
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The system has no certificate authorities, and the account names none.
    #[error(
        "the system has no usable certificate authorities: install its ca-certificates, or set tls.ca_file, then run: \
         keyfob reload ({0})"
    )]
    NoAuthorities(String),
    /// The rest of TLS.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl Transport {
    /// Returns the TLS of this policy, without ALPN. It reads the CA file.
    ///
    /// # Errors
    /// Where the CA file is missing, empty or no PEM, or where there is none and the system has no certificate authorities.
    pub(crate) fn tls(&self) -> Result<ClientConfig, Unusable> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Unusable::Tls(error.to_string()))?;
        let verifier = self.trust.verifier(provider)?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    /// Returns the proxy that stands before a URL.
    ///
    /// Plain http to loopback goes through none: it is acceptable only because it does not leave this machine.
    pub(crate) fn proxy_for(&self, url: &Url) -> Option<&ProxyUrl> {
        if url.scheme() == "http" && super::is_loopback(url) { None } else { self.proxy.before(url) }
    }
}

impl Trust {
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Unusable> {
        let authorities = match self {
            Self::System => Vec::new(),
            Self::AlsoFile(path) => {
                let blame = |cause| Unusable::CaFile { path: path.clone(), cause };
                let authorities = authorities(path).map_err(blame)?;
                // Whether they are certificates at all would else be blamed on the system's.
                check(&authorities, &provider).map_err(|error| blame(error.to_string()))?;
                authorities
            }
            Self::Anyone => return Ok(Arc::new(Credulous(provider.signature_verification_algorithms))),
        };
        match Verifier::new_with_extra_roots(authorities, provider) {
            Ok(verifier) => Ok(Arc::new(verifier)),
            Err(error) => Err(Unusable::NoAuthorities(error.to_string())),
        }
    }
}

/// Reads the certificates of a file.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let is_file = path.metadata().map_err(|error| error.to_string())?.is_file();
    if !is_file {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST_CA_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST_CA_FILE {
        return Err(format!("it is larger than {} KiB", LARGEST_CA_FILE / 1024));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no PEM certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("it is no PEM: {error}")),
    }
}

fn check(
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<(), rustls::Error> {
    let mut store = rustls::RootCertStore::empty();
    authorities.iter().try_for_each(|authority| store.add(authority.clone()))?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .map(|_| ())
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// Believes every certificate; that its owner has the key is checked all the same.
#[derive(Debug)]
struct Credulous(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
