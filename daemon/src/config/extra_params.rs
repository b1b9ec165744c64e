//! `extra_params`: what an account adds to its requests, by kind of request.
//!
//! The thing to get wrong: a parameter that keyfob sends by itself must not be set here, or an account could send a fixed
//! `state`, or a token to where it does not belong.

use std::collections::BTreeMap;

use crate::config::report::{Reported, Wrong};
use crate::config::table::{Entry, Table};
use crate::oauth::ExtraParameters;

/// The key of the table.
pub(super) const KEY: &str = "extra_params";

const FORM: &str = r#"write { authorization = { name = "value" } }, or token, refresh"#;

/// The parameters that have a key of their own, or that no account may set.
const RESERVED: [&str; 22] = [
    "assertion",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "grant_type",
    "nonce",
    "redirect_uri",
    "refresh_token",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Reads the parameters that are added.
pub(super) fn extra_params(table: &mut Table<'_>) -> Result<ExtraParameters, Reported> {
    let given = table.table(KEY, FORM, |table| {
        let authorization = parameters(table, "authorization");
        let token = parameters(table, "token");
        let refresh = parameters(table, "refresh");
        Ok(ExtraParameters {
            authorization: authorization?.unwrap_or_default(),
            token: token?.unwrap_or_default(),
            refresh: refresh?.unwrap_or_default(),
        })
    });
    given.map(Option::unwrap_or_default)
}

fn parameters(table: &mut Table<'_>, kind: &'static str) -> Entry<BTreeMap<String, String>> {
    table.table(kind, r#"write { name = "value" }"#, |table| table.strings(parameter))
}

fn parameter(name: &str, value: &str) -> Result<(), Wrong> {
    if RESERVED.contains(&name) {
        return Err(Wrong::new("is sent by keyfob itself")
            .hint("remove it, or use the key of the account that sets it"));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::new("the name of a parameter must be visible ASCII characters"));
    }
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(Wrong::new("must be a text without control characters").hint("leave it out for none"));
    }
    Ok(())
}
