//! `[accounts.NAME]`: one named login.

use keyfob_protocol::account::{AccountName, InvalidAccountName};
use serde::Deserialize;

use crate::account::{Account, Grant};
use crate::config::client::client;
use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::server::server;
use crate::config::table::Table;
use crate::oauth::LoopbackHttp;

/// What people may know from the documentation of a later version.
const LATER_KEYS: [&str; 4] = ["flyte", "command", "authorization_endpoint", "http_proxy"];
const LATER_TLS_KEYS: [&str; 2] = ["ca_file", "insecure_skip_verify"];
const LATER_GRANTS: [&str; 2] = ["authorization_code", "command"];

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GrantWord {
    DeviceCode,
    ClientCredentials,
}

/// Reads the table of an account.
pub(super) fn account(
    name: &str,
    table: &mut Table<'_>,
    environment: &Environment,
) -> Result<Account, Reported> {
    table.reserve(&LATER_KEYS);
    let name: Result<AccountName, _> = name
        .parse()
        .map_err(|invalid: InvalidAccountName| table.blame_whole(Wrong::new(invalid.to_string())));
    let tls = table.table("tls", "write tls = { allow_http_loopback = true }", tls);
    let loopback = match tls {
        Ok(given) => given.unwrap_or(LoopbackHttp::Refused),
        // A mistake in `tls` must not make a mistake of every URL.
        Err(_) => LoopbackHttp::Allowed,
    };
    let grant = grant(table);
    let server = server(table, grant, loopback);
    let client = client(table, grant, environment);
    let scope = table.list("scopes", scope_value);
    let audience = table.parse("audience", audience);
    Ok(Account {
        name: name?,
        server: server?,
        client: client?,
        grant: grant?,
        scope: scope?.unwrap_or_default().into_iter().collect(),
        audience: audience?,
        loopback: tls.map(|_| loopback)?,
    })
}

fn grant(table: &mut Table<'_>) -> Result<Grant, Reported> {
    let word = table.word("grant", &LATER_GRANTS);
    let missing = Wrong::new("missing").hint(r#"write "device_code" or "client_credentials""#);
    match table.require("grant", word, missing)? {
        GrantWord::DeviceCode => Ok(Grant::DeviceCode),
        GrantWord::ClientCredentials => Ok(Grant::ClientCredentials),
    }
}

fn tls(table: &mut Table<'_>) -> Result<LoopbackHttp, Reported> {
    table.reserve(&LATER_TLS_KEYS);
    match table.read("allow_http_loopback")? {
        Some(true) => Ok(LoopbackHttp::Allowed),
        Some(false) | None => Ok(LoopbackHttp::Refused),
    }
}

/// Accepts one scope value: `%x21 / %x23-5B / %x5D-7E` (RFC 6749 §3.3).
fn scope_value(text: String) -> Result<String, Wrong> {
    if text.contains(' ') {
        return Err(Wrong::new("must be one scope, without spaces").hint(r#"write ["one", "two"]"#));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
        return Err(Wrong::new(r#"must be visible ASCII characters other than " and \"#));
    }
    Ok(text)
}

fn audience(text: String) -> Result<String, Wrong> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(Wrong::new("must be a text without control characters").hint("leave it out for none"));
    }
    Ok(text)
}
