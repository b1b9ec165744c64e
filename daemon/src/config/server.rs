//! Where an account's authorization server is: its issuer, whose metadata names the endpoints, or the endpoints; or a
//! Flyte endpoint, which names them and more.

use crate::account::{Grant, Site};
use crate::config::report::{Reported, Wrong};
use crate::config::table::{Entry, Table};
use crate::flyte::{Endpoint, Plaintext};
use crate::oauth::{EndpointUrl, Endpoints, InvalidEndpoint, LoopbackHttp, Server};

const AUTHORIZATION: &str = "authorization_endpoint";
const TOKEN: &str = "token_endpoint";
const DEVICE_AUTHORIZATION: &str = "device_authorization_endpoint";
const REVOCATION: &str = "revocation_endpoint";

/// The address of a Flyte endpoint, and whether it is spoken to without TLS.
pub(super) const FLYTE: &str = "flyte";
pub(super) const INSECURE: &str = "insecure";

/// What stands in the place of a Flyte endpoint.
const OTHERS: [&str; 5] = ["issuer", AUTHORIZATION, TOKEN, DEVICE_AUTHORIZATION, REVOCATION];

/// Reads the keys of an account that say where its server is.
pub(super) fn site(
    table: &mut Table<'_>,
    grant: Result<Grant, Reported>,
    loopback: LoopbackHttp,
) -> Result<Site, Reported> {
    let insecure: Entry<bool> = table.read(INSECURE);
    let plaintext = match &insecure {
        Ok(Some(true)) => Plaintext::Wanted,
        Ok(Some(false) | None) | Err(_) => Plaintext::Refused,
    };
    let endpoint = table.parse(FLYTE, |text: &str| {
        Endpoint::parse(text, plaintext).map_err(|invalid| Wrong::new(invalid.to_string()))
    });
    if table.has(FLYTE) {
        let beside = Wrong::new("the Flyte endpoint says where to log in");
        let excluded = table.exclude(&OTHERS, &beside.hint("remove either flyte or this"));
        let endpoint = table.require(FLYTE, endpoint, Wrong::new("missing"));
        return insecure.and(excluded).and(endpoint).map(Site::Flyte);
    }
    let server = server(table, grant, loopback);
    if insecure?.is_some() {
        let wrong =
            Wrong::new("is for a Flyte endpoint alone").hint("remove it, or write flyte = \"dns:///host\"");
        return Err(table.blame(INSECURE, wrong));
    }
    server.map(Site::Issuer)
}

fn server(
    table: &mut Table<'_>,
    grant: Result<Grant, Reported>,
    loopback: LoopbackHttp,
) -> Result<Server, Reported> {
    let issuer = table.parse("issuer", |text: String| issuer(text, loopback));
    let authorization = table.parse(AUTHORIZATION, |text: &str| endpoint(text, loopback));
    let token = table.parse(TOKEN, |text: &str| endpoint(text, loopback));
    let device_authorization = table.parse(DEVICE_AUTHORIZATION, |text: &str| endpoint(text, loopback));
    let revocation = table.parse(REVOCATION, |text: &str| endpoint(text, loopback));
    let keys = [AUTHORIZATION, TOKEN, DEVICE_AUTHORIZATION, REVOCATION];
    let given: Vec<_> = keys.into_iter().filter(|key| table.has(key)).collect();
    if table.has("issuer") {
        let beside = Wrong::new("the metadata of the issuer names the endpoints")
            .hint("remove either the issuer or all endpoints");
        let contradictions: Vec<_> = given.iter().map(|key| table.blame(key, beside.clone())).collect();
        let issuer = table.require("issuer", issuer, Wrong::new("missing"))?;
        return contradictions
            .first()
            .map_or(Ok(Server::Discovered { issuer, loopback }), |reported| Err(*reported));
    }
    if given.is_empty() {
        let hint = "write the URL of the issuer, or a token_endpoint where it publishes no metadata";
        return Err(table.missing("issuer", Wrong::new("missing").hint(hint)));
    }
    let hint = "write the URL, or an issuer in place of all endpoints";
    let token = table.require(TOKEN, token, Wrong::new("missing").hint(hint));
    let begins = |table: &mut Table<'_>, key, entry, grant: &str| {
        let wrong = Wrong::new(format!("missing, and grant = \"{grant}\" begins there")).hint(hint);
        table.require(key, entry, wrong).map(Some)
    };
    let (authorization, device_authorization) = match grant {
        Ok(Grant::AuthorizationCode) => {
            (begins(table, AUTHORIZATION, authorization, "authorization_code"), device_authorization)
        }
        Ok(Grant::DeviceCode) => {
            (authorization, begins(table, DEVICE_AUTHORIZATION, device_authorization, "device_code"))
        }
        Ok(Grant::ClientCredentials) | Err(_) => (authorization, device_authorization),
    };
    Ok(Server::Given(Endpoints {
        authorization: authorization?,
        device_authorization: device_authorization?,
        revocation: revocation?,
        ..Endpoints::at(token?)
    }))
}

/// Accepts an issuer identifier, letter for letter: https, neither query nor fragment (RFC 8414 §2).
fn issuer(text: String, loopback: LoopbackHttp) -> Result<String, Wrong> {
    let url = endpoint(&text, loopback)?;
    if url.url().query().is_some() {
        return Err(Wrong::new("must have no query"));
    }
    Ok(text)
}

fn endpoint(text: &str, loopback: LoopbackHttp) -> Result<EndpointUrl, Wrong> {
    // A parser of URLs takes such characters out in silence.
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(Wrong::new("must have no spaces or control characters"));
    }
    // The URL is left out of the message: it may have a password in it.
    EndpointUrl::parse(text, loopback).map_err(|invalid| match invalid {
        InvalidEndpoint::NotAUrl(_) => Wrong::new("must be a URL").hint("begin with https://"),
        InvalidEndpoint::TooLong(_) => Wrong::new("is too long for a URL"),
        InvalidEndpoint::NotHttps(_) => Wrong::new("must be https")
            .hint("plain http is for loopback only, with tls = { allow_http_loopback = true }"),
        InvalidEndpoint::HasPart { part, .. } => Wrong::new(format!("must have no {part}")),
    })
}
