//! Certificates made on the spot: an authority, and what it certifies.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// What a server shows, and the key that goes with it.
#[derive(Clone, Debug)]
pub struct Identity(Arc<ServerConfig>);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// In the time of every test.
    Now,
    /// Until the end of 2019.
    Past,
}

impl Authority {
    /// Makes an authority that nobody knows.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "an authority of the stories");
        let key = key();
        let certificate = parameters.self_signed(&key).expect("an authority can sign itself").into();
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    /// Returns its certificate as a CA file has it.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Certifies a server with these names and addresses.
    pub fn certify(&self, names: &[&str], validity: Validity) -> Identity {
        let key = key();
        let signed = parameters(names, validity).signed_by(&key, &self.issuer);
        Identity::new(signed.expect("an authority can sign").into(), &key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Identity {
    /// Makes a server that certifies itself.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = key();
        let signed = parameters(names, Validity::Now).self_signed(&key);
        Self::new(signed.expect("a key can sign").into(), &key)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }

    fn new(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has all versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .expect("the key is of the certificate");
        Self(Arc::new(config))
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn parameters(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).expect("names of servers");
    match validity {
        Validity::Now => {}
        Validity::Past => parameters.not_after = date_time_ymd(2019, 12, 31),
    }
    parameters
}
