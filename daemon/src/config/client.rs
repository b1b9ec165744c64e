//! Who we are to an account's authorization server, and how we prove it.

use serde::Deserialize;

use crate::account::Grant;
use crate::config::client_secret::client_secret;
use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::server::FLYTE;
use crate::config::table::{Entry, Table};
use crate::oauth::{Client, ClientAuthentication, ClientId, ClientSecret};

/// The names of OpenID Connect Core §9.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    ClientSecretBasic,
    ClientSecretBasicRawId,
    ClientSecretPost,
    PrivateKeyJwt,
    None,
}

/// Reads the keys of an account that say who we are.
pub(super) fn client(
    table: &mut Table<'_>,
    grant: Result<Grant, Reported>,
    environment: &Environment,
) -> Result<Client, Reported> {
    let id = table.parse("client_id", client_id);
    let hint =
        r#"keep the secret out of this file: write { file = "/path/to/it" }, or env, command, credential"#;
    let secret = table.table("client_secret", hint, |table| client_secret(table, environment));
    let hint =
        r#"keep the key out of this file: write { file = "/path/to/it" }, or env, command, credential"#;
    let key = table.table("private_key", hint, |table| client_secret(table, environment));
    let key_id = table.parse("private_key_id", key_id);
    let method = table.read("client_authentication");
    let id = if table.has(FLYTE) {
        id.map(|id| id.map_or(ClientId::FromEndpoint, ClientId::Given))
    } else {
        let missing = Wrong::new("missing").hint("write the id that the issuer gave you");
        table.require("client_id", id, missing).map(ClientId::Given)
    };
    let secret = match (grant, &secret) {
        (Ok(Grant::ClientCredentials), Ok(None)) if !table.has("private_key") => {
            let wrong = Wrong::new(r#"missing, and grant = "client_credentials" needs it"#);
            Err(table.missing("client_secret", wrong.hint(r#"write { file = "/path/to/it" }"#)))
        }
        (Ok(Grant::AuthorizationCode | Grant::ClientCredentials | Grant::DeviceCode) | Err(_), _) => secret,
    };
    let authentication = match key {
        Ok(None) => by_secret(table, method, secret),
        Ok(Some(key)) => by_key(table, method, key, key_id),
        Err(reported) => Err(reported),
    };
    Ok(Client { id: id?, authentication: authentication? })
}

fn by_key(
    table: &mut Table<'_>,
    method: Entry<Method>,
    key: ClientSecret,
    key_id: Entry<String>,
) -> Result<ClientAuthentication, Reported> {
    if table.has("client_secret") {
        let wrong = Wrong::new("is given beside client_secret").hint("keep one of the two");
        return Err(table.blame("private_key", wrong));
    }
    match method? {
        None | Some(Method::PrivateKeyJwt) => {
            Ok(ClientAuthentication::PrivateKeyJwt { key, key_id: key_id? })
        }
        Some(
            Method::ClientSecretBasic
            | Method::ClientSecretBasicRawId
            | Method::ClientSecretPost
            | Method::None,
        ) => {
            let wrong = Wrong::new("has no use for a private_key").hint(r#"write "private_key_jwt""#);
            Err(table.blame("client_authentication", wrong))
        }
    }
}

fn by_secret(
    table: &mut Table<'_>,
    method: Entry<Method>,
    secret: Entry<ClientSecret>,
) -> Result<ClientAuthentication, Reported> {
    if table.has("private_key_id") {
        let wrong = Wrong::new("names a key, but there is no private_key");
        return Err(table.blame("private_key_id", wrong));
    }
    match (method?, secret?) {
        (Some(Method::PrivateKeyJwt), _) => {
            let wrong = Wrong::new("missing, and client_authentication needs it");
            Err(table.missing("private_key", wrong.hint(r#"write { file = "/path/to/it" }"#)))
        }
        (None | Some(Method::None), None) => Ok(ClientAuthentication::None),
        (None | Some(Method::ClientSecretBasic), Some(secret)) => {
            Ok(ClientAuthentication::SecretBasic(secret))
        }
        (Some(Method::ClientSecretBasicRawId), Some(secret)) => {
            Ok(ClientAuthentication::SecretBasicRawId(secret))
        }
        (Some(Method::ClientSecretPost), Some(secret)) => Ok(ClientAuthentication::SecretPost(secret)),
        (
            Some(Method::ClientSecretBasic | Method::ClientSecretBasicRawId | Method::ClientSecretPost),
            None,
        ) => {
            let wrong = Wrong::new("missing, and client_authentication needs it");
            Err(table.missing("client_secret", wrong.hint(r#"write { file = "/path/to/it" }"#)))
        }
        (Some(Method::None), Some(_)) => {
            let wrong = Wrong::new(r#""none" sends no secret, but there is a client_secret"#);
            Err(table.blame("client_authentication", wrong.hint("remove one of the two")))
        }
    }
}

fn key_id(text: String) -> Result<String, Wrong> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new("must be a text without control characters").hint("leave it out for none"));
    }
    Ok(text)
}

/// Accepts a client identifier: one or more of `%x20-7E` (RFC 6749 §A.1).
fn client_id(text: String) -> Result<String, Wrong> {
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Wrong::new("must be one or more visible ASCII characters"));
    }
    Ok(text)
}
