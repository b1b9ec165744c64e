//! `[accounts.NAME]`: one named login.

use keyfob_protocol::account::{AccountName, InvalidAccountName};
use serde::Deserialize;
use url::Url;

use crate::account::{Account, Grant, IssuerSettings, Provider};
use crate::config::browser::{self, browser};
use crate::config::client::client;
use crate::config::environment::Environment;
use crate::config::extra_params::{self, extra_params};
use crate::config::policy::policy;
use crate::config::program::{self, program};
use crate::config::report::{Reported, Wrong};
use crate::config::rotation::{self, rotation};
use crate::config::server::{self, site};
use crate::config::table::Table;
use crate::config::transport::{self, tls, transport};
use crate::grant::authorization_code::BrowserLogin;
use crate::oauth::{DpopPolicy, LoopbackHttp};
use crate::token::Target;

/// Whether the refresh token is bound to a key.
const DPOP: &str = "dpop";

/// The keys that say something about an issuer, or about us there.
const ISSUER_KEYS: [&str; 25] = [
    server::FLYTE,
    server::INSECURE,
    "issuer",
    "authorization_endpoint",
    "token_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "client_id",
    "client_secret",
    "client_authentication",
    "private_key",
    "private_key_id",
    "scopes",
    "audience",
    "resources",
    DPOP,
    extra_params::KEY,
    browser::KEYS[0],
    browser::KEYS[1],
    browser::KEYS[2],
    browser::KEYS[3],
    rotation::KEYS[0],
    rotation::KEYS[1],
    transport::KEYS[0],
    transport::KEYS[1],
];

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GrantWord {
    AuthorizationCode,
    DeviceCode,
    ClientCredentials,
    Command,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DpopWord {
    Auto,
    Off,
    Require,
}

/// Reads the table of an account.
pub(super) fn account(
    name: &str,
    table: &mut Table<'_>,
    environment: &Environment,
) -> Result<Account, Reported> {
    let name: Result<AccountName, _> = name
        .parse()
        .map_err(|invalid: InvalidAccountName| table.blame_whole(Wrong::new(invalid.to_string())));
    let provider = provider(table, environment);
    let policy = policy(table, provider.as_ref().map_err(|reported| *reported));
    Ok(Account { name: name?, provider: provider?, policy: policy? })
}

fn provider(table: &mut Table<'_>, environment: &Environment) -> Result<Provider, Reported> {
    let word = table.read("grant");
    let missing = Wrong::new("missing")
        .hint(r#"write "authorization_code", "device_code", "client_credentials" or "command""#);
    let grant = match table.require("grant", word, missing) {
        Ok(GrantWord::Command) => {
            let excluded = table.exclude(&ISSUER_KEYS, &meaningless("command"));
            let program = program(table);
            return excluded.and(program).map(Provider::Program);
        }
        Ok(GrantWord::AuthorizationCode) => {
            let excluded = table.exclude(&program::KEYS, &meaningless("authorization_code"));
            excluded.map(|()| Grant::AuthorizationCode)
        }
        Ok(GrantWord::DeviceCode) => without_browser(table, "device_code").map(|()| Grant::DeviceCode),
        Ok(GrantWord::ClientCredentials) => {
            // It has no refresh token.
            let [rotation, grace] = rotation::KEYS;
            let excluded = table.exclude(&[DPOP, rotation, grace], &meaningless("client_credentials"));
            without_browser(table, "client_credentials").and(excluded).map(|()| Grant::ClientCredentials)
        }
        // By its other keys it is an account with a program: nobody is asked for an issuer.
        Err(reported) if table.has("command") => {
            table.overlook(&ISSUER_KEYS);
            return program(table).and(Err(reported));
        }
        Err(reported) => {
            table.overlook(&program::KEYS);
            Err(reported)
        }
    };
    issuer(table, grant, environment).map(Provider::Issuer)
}

fn without_browser(table: &mut Table<'_>, grant: &str) -> Result<(), Reported> {
    let program = table.exclude(&program::KEYS, &meaningless(grant));
    table.exclude(&browser::KEYS, &meaningless(grant)).and(program)
}

fn meaningless(grant: &str) -> Wrong {
    Wrong::new(format!("has no meaning with grant = \"{grant}\"")).hint("remove it")
}

fn issuer(
    table: &mut Table<'_>,
    grant: Result<Grant, Reported>,
    environment: &Environment,
) -> Result<IssuerSettings, Reported> {
    let tls = tls(table, environment);
    let loopback = match &tls {
        Ok(tls) => tls.loopback,
        // A mistake in `tls` must not make a mistake of every URL.
        Err(_) => LoopbackHttp::Allowed,
    };
    let transport = transport(table, tls.as_ref().map_err(|reported| *reported), environment);
    let site = site(table, grant, loopback);
    let client = client(table, grant, environment);
    let scope = table.list("scopes", scope_value);
    let audience = table.parse("audience", audience);
    let resources = table.list("resources", resource);
    let extra = extra_params(table);
    let rotation = rotation(table);
    let dpop = dpop(table);
    let browser = match grant {
        Ok(Grant::AuthorizationCode) | Err(_) => browser(table, environment),
        Ok(Grant::DeviceCode | Grant::ClientCredentials) => Ok(BrowserLogin::default()),
    };
    Ok(IssuerSettings {
        site: site?,
        client: client?,
        grant: grant?,
        target: Target {
            scope: scope?.unwrap_or_default().into_iter().collect(),
            audience: audience?,
            resources: resources?.unwrap_or_default().into_iter().collect(),
        },
        extra: extra?,
        browser: browser?,
        rotation: rotation?,
        loopback: tls?.loopback,
        dpop: dpop?,
        transport: transport?,
    })
}

fn dpop(table: &mut Table<'_>) -> Result<DpopPolicy, Reported> {
    Ok(match table.read(DPOP)? {
        None | Some(DpopWord::Auto) => DpopPolicy::Auto,
        Some(DpopWord::Off) => DpopPolicy::Off,
        Some(DpopWord::Require) => DpopPolicy::Require,
    })
}

/// Accepts one scope value: `%x21 / %x23-5B / %x5D-7E` (RFC 6749 §3.3).
pub(super) fn scope_value(text: String) -> Result<String, Wrong> {
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

/// Accepts a resource indicator: an absolute URI without a fragment (RFC 8707 §2).
fn resource(text: String) -> Result<String, Wrong> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    match Url::parse(&text) {
        Ok(_) if !is_plain => {
            Err(Wrong::new("must have no spaces, control characters or letters outside ASCII"))
        }
        Ok(url) if url.fragment().is_some() => Err(Wrong::new("must have no fragment")),
        Ok(_) => Ok(text),
        Err(_) => Err(Wrong::new("must be an absolute URI").hint("begin with https:// or urn:")),
    }
}
