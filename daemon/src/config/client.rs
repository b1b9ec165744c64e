//! Who we are to an account's authorization server, and how we prove it.

use serde::Deserialize;

use crate::account::Grant;
use crate::config::client_secret::client_secret;
use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::table::{Entry, Table};
use crate::oauth::{Client, ClientAuthentication, ClientSecret};

/// The names of OpenID Connect Core §9.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    ClientSecretBasic,
    ClientSecretBasicRawId,
    ClientSecretPost,
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
    let method = table.read("client_authentication");
    let id =
        table.require("client_id", id, Wrong::new("missing").hint("write the id that the issuer gave you"));
    let secret = match (grant, &secret) {
        (Ok(Grant::ClientCredentials), Ok(None)) => {
            let wrong = Wrong::new(r#"missing, and grant = "client_credentials" needs it"#);
            Err(table.missing("client_secret", wrong.hint(r#"write { file = "/path/to/it" }"#)))
        }
        (Ok(Grant::AuthorizationCode | Grant::ClientCredentials | Grant::DeviceCode) | Err(_), _) => secret,
    };
    let authentication = authentication(table, method, secret);
    Ok(Client { id: id?, authentication: authentication? })
}

fn authentication(
    table: &mut Table<'_>,
    method: Entry<Method>,
    secret: Entry<ClientSecret>,
) -> Result<ClientAuthentication, Reported> {
    match (method?, secret?) {
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

/// Accepts a client identifier: one or more of `%x20-7E` (RFC 6749 §A.1).
fn client_id(text: String) -> Result<String, Wrong> {
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Wrong::new("must be one or more visible ASCII characters"));
    }
    Ok(text)
}
