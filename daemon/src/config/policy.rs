//! `[accounts.NAME.policy]`: who may have an account's tokens, and for what.
//!
//! The kernel names the file that runs, not the link by which it was started. So links are followed here, once, when the
//! file is read; a program that is not there yet is no mistake.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::account::Provider;
use crate::account::policy::{Access, Allowed, Policy};
use crate::config::account::scope_value;
use crate::config::report::{Reported, Wrong};
use crate::config::table::{Entry, Table};

pub(super) const KEY: &str = "policy";

/// What processes are started in: the kinds of units that have any.
const UNITS_WITH_PROCESSES: [&str; 2] = [".service", ".scope"];

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AccessWord {
    Allow,
    Confirm,
    Deny,
}

/// Reads what an account says about who may ask.
pub(super) fn policy(
    table: &mut Table<'_>,
    provider: Result<&Provider, Reported>,
) -> Result<Policy, Reported> {
    let policy = table.table(KEY, "write [accounts.NAME.policy]", |table| {
        let programs = list(table, "programs", allowed);
        let units = list(table, "units", unit);
        let scopes = list(table, "scopes", scope_value);
        let scopes = match provider {
            Ok(Provider::Program(_)) if table.has("scopes") => {
                let wrong = Wrong::new("has no meaning with grant = \"command\"").hint("remove it");
                Err(table.blame("scopes", wrong))
            }
            Ok(Provider::Program(_) | Provider::Issuer(_)) | Err(_) => scopes,
        };
        let access = match table.read("access") {
            Ok(None | Some(AccessWord::Allow)) => Ok(Access::Allow),
            Ok(Some(AccessWord::Confirm)) => Ok(Access::Confirm),
            Ok(Some(AccessWord::Deny)) => Ok(Access::Deny),
            Err(reported) => Err(reported),
        };
        Ok(Policy {
            programs: programs?,
            units: units?,
            scopes: scopes?.map(|values| values.into_iter().collect()),
            access: access?,
        })
    });
    policy.map(Option::unwrap_or_default)
}

/// Reads a list that says who may. An empty one would say that nobody may, and look as if it said nothing.
fn list<T>(
    table: &mut Table<'_>,
    key: &'static str,
    parse: impl Fn(String) -> Result<T, Wrong>,
) -> Entry<Vec<T>> {
    match table.list(key, parse)? {
        Some(values) if values.is_empty() => {
            let wrong = Wrong::new("must name one at least");
            Err(table.blame(key, wrong.hint("leave it out for all, or write access = \"deny\" for none")))
        }
        values => Ok(values),
    }
}

fn allowed(text: String) -> Result<Allowed, Wrong> {
    let path = PathBuf::from(&text);
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || text.contains('\0') || !path.components().all(is_plain) {
        return Err(Wrong::new(
            "must be the absolute path of a program, or of a directory with a / at its end",
        ));
    }
    let found = |path: &Path| fs::canonicalize(path).ok();
    match text.strip_suffix('/') {
        Some("") => Err(Wrong::new("would be every program").hint("leave it out for all")),
        Some(directory) => {
            let directory = PathBuf::from(directory);
            let found = found(&directory);
            Ok(Allowed::Below(directory, found))
        }
        None if path.is_dir() => Err(Wrong::new("is a directory").hint("write a / at its end")),
        None => {
            let found = found(&path);
            Ok(Allowed::Program(path, found))
        }
    }
}

fn unit(text: String) -> Result<String, Wrong> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let has_processes =
        UNITS_WITH_PROCESSES.iter().any(|kind| text.strip_suffix(kind).is_some_and(|name| !name.is_empty()));
    if has_processes && text.bytes().all(is_plain) {
        Ok(text)
    } else {
        Err(Wrong::new("must be the name of a systemd unit that ends in .service or .scope"))
    }
}
