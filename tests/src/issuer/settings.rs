//! How a fake issuer behaves when nothing is broken.
//!
//! Servers differ within the RFCs: each setting is one such difference that was met in the field.

use std::time::Duration;

use super::dpop::Dpop;

/// How a fake issuer behaves. [`Default`] is a strict, well-meaning one with the public client `cli`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The registered clients.
    pub clients: Vec<Client>,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How a token answer tells that lifetime.
    pub expires_in: ExpiresIn,
    /// What a token answer calls its token.
    pub token_type: String,
    /// What becomes of a refresh token that is used.
    pub rotation: Rotation,
    /// The `interval` of a device authorization in seconds; absent means 5 (RFC 8628 §3.2).
    pub device_interval: Option<u64>,
    /// How many seconds a device code lives.
    pub device_expires_in: u64,
    /// The scopes that may be asked for.
    pub scopes: Vec<String>,
    /// Where the metadata is.
    pub discovery: Discovery,
    /// Whether the metadata names a revocation endpoint.
    pub offers_revocation: bool,
    /// What it does about proofs of possession.
    pub dpop: Dpop,
    /// What the person does on the authorization page.
    pub consent: Consent,
    /// What the redirects say about who sent them.
    pub redirect_issuer: RedirectIssuer,
    /// The nonce of every ID token, in place of the one that was asked for.
    pub id_token_nonce: Option<String>,
    /// How far its clock is ahead of everybody else's.
    pub clock_ahead: Duration,
    /// What every secret begins with: a leak scan looks for it.
    pub secret_prefix: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clients: vec![Client::public("cli")],
            access_lifetime: Duration::from_secs(3600),
            expires_in: ExpiresIn::Number,
            token_type: "Bearer".to_owned(),
            rotation: Rotation::Strict,
            device_interval: Some(1),
            device_expires_in: 600,
            scopes: ["all", "offline", "openid"].map(str::to_owned).to_vec(),
            discovery: Discovery::Both,
            offers_revocation: true,
            dpop: Dpop::default(),
            consent: Consent::Given,
            redirect_issuer: RedirectIssuer::Own,
            id_token_nonce: None,
            clock_ahead: Duration::ZERO,
            secret_prefix: "CANARY",
        }
    }
}

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: String,
    /// How it must authenticate.
    pub authentication: ClientAuthentication,
    /// Where browsers may be sent back to.
    pub redirect_uri: String,
}

impl Client {
    /// Returns a client without a secret.
    pub fn public(id: &str) -> Self {
        Self::new(id, ClientAuthentication::None)
    }

    /// Returns a client that must send its secret in the `Authorization` header.
    pub fn basic(id: &str, secret: &str) -> Self {
        Self::new(id, ClientAuthentication::SecretBasic(secret.to_owned()))
    }

    /// Returns a client that must send its secret in the body.
    pub fn post(id: &str, secret: &str) -> Self {
        Self::new(id, ClientAuthentication::SecretPost(secret.to_owned()))
    }

    /// Returns a client that must sign its requests with the other half of a public key.
    pub fn private_key(id: &str, public_key: &[u8]) -> Self {
        Self::new(id, ClientAuthentication::PrivateKeyJwt(public_key.to_vec()))
    }

    /// Returns a client that is sent back to the usual place.
    fn new(id: &str, authentication: ClientAuthentication) -> Self {
        Self { id: id.to_owned(), authentication, redirect_uri: "http://127.0.0.1/callback".to_owned() }
    }
}

/// How a client must authenticate: in this way and in no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `none`: it sends its identifier.
    None,
    /// `client_secret_basic`.
    SecretBasic(String),
    /// `client_secret_post`.
    SecretPost(String),
    /// `private_key_jwt` with ES256: the public key.
    PrivateKeyJwt(Vec<u8>),
}

/// How a token answer tells the lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiresIn {
    /// Not at all: RFC 6749 §5.1 only recommends it.
    Absent,
    /// As the number that it should be.
    Number,
    /// As a string, which some servers send.
    Text,
}

/// What becomes of a refresh token that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It stays good, and the answer holds none.
    Omitted,
    /// It stays good, and the answer repeats it.
    Repeated,
    /// It is replaced; presenting it again revokes the whole family (RFC 9700 §4.14.2).
    Strict,
    /// It is replaced; presented again within this time it gives the same successor.
    Grace(Duration),
    /// The same, but presented again it comes back itself in place of its successor, spent as it is.
    GraceGivesBackSpent(Duration),
}

impl Rotation {
    /// Returns how long a refresh token is taken after it was replaced.
    pub fn grace(self) -> Duration {
        match self {
            Self::Omitted | Self::Repeated | Self::Strict => Duration::ZERO,
            Self::Grace(grace) | Self::GraceGivesBackSpent(grace) => grace,
        }
    }
}

/// Where the metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// At the path of RFC 8414.
    OAuth,
    /// At the path of OpenID Connect Discovery.
    OpenId,
    /// At both.
    Both,
    /// Nowhere.
    Nowhere,
}

/// What the person does on the authorization page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// They agree.
    Given,
    /// They refuse.
    Denied,
}

/// What the redirects say about who sent them (RFC 9207).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectIssuer {
    /// Nothing, and the metadata promise nothing.
    Unnamed,
    /// The issuer itself, and the metadata promise it.
    Own,
    /// Somebody else.
    Foreign(String),
}
