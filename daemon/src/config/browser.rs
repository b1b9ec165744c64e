//! How a person logs in where that happens in a browser: where it is sent back to, and what it shows at the end.

use std::path::PathBuf;

use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::server::FLYTE;
use crate::config::table::Table;
use crate::grant::authorization_code::BrowserLogin;
use crate::grant::loopback::{InvalidRedirectUri, Pages, RedirectUri};
use crate::oauth::CodeExchange;

/// The keys that only such an account has.
pub(super) const KEYS: [&str; 4] =
    ["redirect_uri", "success_page", "failure_page", "repeat_authorization_params"];

/// Reads the keys of an account that say how a person logs in.
pub(super) fn browser(table: &mut Table<'_>, environment: &Environment) -> Result<BrowserLogin, Reported> {
    let redirect_uri = table.parse(KEYS[0], redirect_uri);
    let success = table.parse(KEYS[1], |path: &str| page(path, environment));
    let failure = table.parse(KEYS[2], |path: &str| page(path, environment));
    let repeats = table.read(KEYS[3]);
    Ok(BrowserLogin {
        redirect_uri: redirect_uri?,
        pages: Pages { success: success?, failure: failure? },
        code_exchange: match repeats? {
            Some(true) => CodeExchange::Repeating,
            // flyteadmin's own issuer looks for them there.
            None if table.has(FLYTE) => CodeExchange::Repeating,
            Some(false) | None => CodeExchange::Plain,
        },
    })
}

fn redirect_uri(text: &str) -> Result<RedirectUri, Wrong> {
    text.parse().map_err(|invalid: InvalidRedirectUri| Wrong::new(invalid.to_string()))
}

fn page(path: &str, environment: &Environment) -> Result<PathBuf, Wrong> {
    let absolute = environment.expand(path).filter(|path| !path.as_os_str().as_encoded_bytes().contains(&0));
    absolute.ok_or_else(|| Wrong::new("must be an absolute path, or begin with ~/"))
}
