//! `command` and `assume_lifetime`: the program of an account with `grant = "command"`.
//!
//! The program is looked for when it runs, not here: it may be installed later, and a name is found by `PATH`.

use std::time::Duration;

use crate::config::report::{Reported, Wrong};
use crate::config::table::{Entry, Table};
use crate::grant::command::{DEFAULT_ASSUMED_LIFETIME, Program};

/// The keys that only such an account has.
pub(super) const KEYS: [&str; 2] = ["command", "assume_lifetime"];

/// A year, in seconds. A token that lives longer is nothing to assume.
const LONGEST_ASSUMED: i64 = 365 * 24 * 3600;

/// Reads the keys of an account that name a program.
pub(super) fn program(table: &mut Table<'_>) -> Result<Program, Reported> {
    let argv = argv(table);
    let assumed = table.parse("assume_lifetime", lifetime);
    let missing = Wrong::new(r#"missing, and grant = "command" runs it"#);
    let argv = table.require("command", argv, missing.hint(r#"write ["program", "argument"]"#));
    Ok(Program { argv: argv?, assume_lifetime: assumed?.unwrap_or(DEFAULT_ASSUMED_LIFETIME) })
}

fn argv(table: &mut Table<'_>) -> Entry<Vec<String>> {
    let Some(argv) = table.list("command", argument)? else { return Ok(None) };
    let Some(name) = argv.first() else {
        return Err(table.blame("command", Wrong::new("must begin with the name of a program")));
    };
    // It runs in no directory that a person would expect.
    if name.contains('/') && !name.starts_with('/') {
        let wrong = Wrong::new("must begin with an absolute path, or with a name that is found by PATH");
        return Err(table.blame("command", wrong));
    }
    Ok(Some(argv))
}

fn argument(text: String) -> Result<String, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return Err(Wrong::new("must be a text that is not empty and has no NUL character"));
    }
    Ok(text)
}

fn lifetime(seconds: i64) -> Result<Duration, Wrong> {
    let wrong = || Wrong::new(format!("must be a number of seconds from 1 to {LONGEST_ASSUMED}"));
    if !(1..=LONGEST_ASSUMED).contains(&seconds) {
        return Err(wrong());
    }
    u64::try_from(seconds).map(Duration::from_secs).map_err(|_| wrong())
}
