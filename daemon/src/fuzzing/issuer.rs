//! What an issuer answers: to a renewal, to a device authorization, and about itself.
//!
//! The thing to get wrong: a secret must come out as it went in, or a target could not tell a lost one from a kept one.

use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::clock::{Clock, Now};
use crate::oauth::answer::Answer;
use crate::oauth::error::{Error, Presented};
use crate::oauth::{EndpointUrl, LoopbackHttp, device, metadata, token_endpoint};
use crate::token::answered::{Purpose, Terms};
use crate::token::failure::Failure;
use crate::token::{RefreshToken, Scope, TokenSet};

/// Whom everything is asked.
pub const ISSUER: &str = "https://login.example.com";

/// An answer, as it comes from the network.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: u16,
    /// Headers. What fits none is left out.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
}

impl Response<'_> {
    fn answer(&self, now: Now) -> Option<Answer> {
        let status = StatusCode::from_u16(self.status).ok()?;
        let header = |(name, value): &(&str, &[u8])| {
            Some((HeaderName::try_from(*name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let headers: HeaderMap = self.headers.iter().filter_map(header).collect();
        Some(Answer::new(status, &headers, Zeroizing::new(self.body.to_vec()), now.wall))
    }
}

/// What becomes of an answer to a renewal.
#[derive(Debug)]
pub enum Renewed {
    /// Tokens that can be used.
    Tokens(Box<TokenSet>),
    /// None.
    Failed {
        /// What the account does about it.
        failure: Failure,
        /// The refresh token that came all the same.
        successor: Option<Box<RefreshToken>>,
    },
}

/// Reads the answer to a renewal. Nothing, where no answer can have that status.
pub fn renewed(response: &Response<'_>) -> Option<Renewed> {
    let now = Clock::system().now();
    let answered = response.answer(now)?.into_answered(Terms {
        sent_at: now.moment,
        purpose: Purpose::Own,
        origin: ISSUER.to_owned(),
        scope: Scope::parse("all"),
        issuer: Some(ISSUER.to_owned()),
        client_id: "cli".to_owned(),
        header: None,
    });
    Some(match token_endpoint::read(&answered, None, now) {
        Ok(tokens) => Renewed::Tokens(Box::new(tokens)),
        Err(unread) => {
            let error = Error { host: "login.example.com".to_owned(), kind: unread.kind };
            let failure = error.classify(Presented::RefreshToken);
            Renewed::Failed { failure, successor: unread.successor }
        }
    })
}

/// What a person and the daemon are given for a device login.
#[derive(Debug)]
pub struct DeviceCodes {
    /// What is polled with.
    pub device_code: String,
    /// What is shown.
    pub user_code: String,
    /// The pages, without and perhaps with the code.
    pub pages: Vec<String>,
    /// How long the codes live.
    pub life: Duration,
    /// The least time between two polls.
    pub interval: Duration,
}

/// Reads the answer to a device authorization. Nothing, where no answer can have that status.
pub fn device(response: &Response<'_>, loopback: LoopbackHttp) -> Option<Result<DeviceCodes, Failure>> {
    let answer = response.answer(Clock::system().now())?;
    let read = device::authorization(&answer, loopback).map_err(|kind| {
        Error { host: "login.example.com".to_owned(), kind }.classify(Presented::ClientAlone)
    });
    Some(read.map(|codes| {
        DeviceCodes {
            device_code: codes.device_code.expose_secret().to_owned(),
            user_code: codes.user_code,
            pages: [Some(codes.verification_uri), codes.verification_uri_complete]
                .into_iter()
                .flatten()
                .map(|page| page.to_string())
                .collect(),
            life: codes.life,
            interval: codes.interval,
        }
    }))
}

/// Reads what an issuer says about itself: its endpoints, or nothing where it says that there is no such document. Nothing
/// at all, where no answer can have that status.
pub fn metadata(
    response: &Response<'_>,
    loopback: LoopbackHttp,
) -> Option<Result<Option<Vec<EndpointUrl>>, Failure>> {
    let answer = response.answer(Clock::system().now())?;
    let [address, _] = metadata::addresses(ISSUER, loopback).ok()?;
    let read = metadata::read(&answer, &address, ISSUER, loopback).map_err(|error| error.classify());
    Some(read.map(|found| {
        found.map(|metadata| {
            let found = metadata.endpoints;
            [Some(found.token), found.authorization, found.device_authorization, found.revocation]
                .into_iter()
                .flatten()
                .collect()
        })
    }))
}

/// Makes a text of a server's one that may be shown.
pub fn message(text: &str) -> String {
    crate::token::failure::Message::from(text).to_string()
}
