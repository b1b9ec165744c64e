//! What a browser, or whoever claims to be one, sends to the port of a pending login.

use axum::http::request::Parts;
use secrecy::ExposeSecret;

use crate::grant::loopback::redirect_uri::Host;
use crate::grant::loopback::request::{Asked, Place};
use crate::oauth::authorization::{self, Attempt, Reading};
use crate::oauth::{EndpointUrl, Endpoints, LoopbackHttp, Redirects};
use crate::token::Target;

/// What a request is to the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing that there is.
    Nothing,
    /// A browser that wants to be told how it ended.
    Outcome,
    /// Not the answer to this login.
    Stray,
    /// The answer of somebody else.
    Foreign,
    /// The code.
    Code(String),
    /// The issuer's refusal.
    Refused,
}

/// A login that waits for its browser at <http://127.0.0.1:53593/callback>.
#[derive(Debug)]
pub struct Callback {
    place: Place,
    attempt: Attempt,
}

impl Callback {
    /// Begins a login with an issuer whose redirects name it.
    ///
    /// # Panics
    /// Panics where the system has no random numbers.
    pub fn begin() -> Self {
        let url = |text: &str| EndpointUrl::parse(text, LoopbackHttp::Refused).ok();
        let endpoints = url("https://login.example.com/token").map(|token| Endpoints {
            authorization: url("https://login.example.com/authorize"),
            issuer: Some(super::issuer::ISSUER.to_owned()),
            redirects: Redirects::NameIssuer,
            ..Endpoints::at(token)
        });
        let asked = authorization::Asked {
            endpoints: &endpoints.expect("it is an https URL"),
            client_id: "cli",
            redirect_uri: "http://127.0.0.1:53593/callback",
            target: &Target::default(),
            extra: &Default::default(),
            proof_key: None,
        };
        let attempt =
            Attempt::new(asked).expect("the issuer has the endpoint, and the system random numbers");
        Self { place: Place::new(Host::Ipv4, 53593, "/callback"), attempt }
    }

    /// Returns what no stranger knows.
    pub fn state(&self) -> &str {
        self.attempt.state()
    }

    /// Reads a request's head.
    pub fn hear(&self, head: &Parts) -> Heard {
        match self.place.read(head) {
            Asked::Nothing(_) => Heard::Nothing,
            Asked::Outcome => Heard::Outcome,
            Asked::Callback(query) => match self.attempt.read(query.expose_secret()) {
                Reading::Stray(_) => Heard::Stray,
                Reading::Foreign(_) => Heard::Foreign,
                Reading::Code(code) => Heard::Code(code.expose_secret().to_owned()),
                Reading::Refused(_) => Heard::Refused,
            },
        }
    }
}
