//! keyfob's own configuration: an account is added at its end, and taken out again, as text.
//!
//! What a person wrote there stays byte for byte. The thing to get wrong: with a second account nobody is the default
//! any more by being the only one, so the default is written down.

use std::path::Path;

use keyfob_protocol::account::AccountName;
use secrecy::SecretString;
use toml::{Table, Value};

use crate::setup::error::Error;
use crate::setup::section::{self, Section};

/// What adding an account comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// The text with it.
    Changed(String),
    /// It is there already.
    Unchanged,
}

/// Adds an account that is given as TOML.
pub(crate) fn add(
    text: &str,
    file: &Path,
    name: &AccountName,
    account: &str,
    mark: &str,
) -> Result<Added, Error> {
    let before = parse(text, file)?;
    let wanted = parse(account, file)?;
    let accounts = accounts(&before);
    if let Some(existing) = accounts.and_then(|accounts| accounts.get(name.as_str())) {
        let is_same = self::accounts(&wanted).and_then(|it| it.get(name.as_str())) == Some(existing);
        return if is_same { Ok(Added::Unchanged) } else { Err(Error::NameTaken(name.clone())) };
    }
    let default =
        match (before.contains_key("default_account"), accounts.map(|it| it.keys().collect::<Vec<_>>())) {
            (true, _) => String::new(),
            // Until now it was the default by being the only one.
            (false, Some(only)) if only.len() == 1 => default_line(only[0]),
            (false, _) => default_line(name.as_str()),
        };
    let changed = format!("{default}{text}{}", block(text, account, mark));
    let after = parse(&changed, file)?;
    let added = self::accounts(&after).and_then(|accounts| accounts.get(name.as_str()));
    if added.is_none() || added != self::accounts(&wanted).and_then(|it| it.get(name.as_str())) {
        let reason = "its accounts are not written as [accounts.NAME]".to_owned();
        return Err(Error::Configuration { path: file.to_owned(), reason });
    }
    Ok(Added::Changed(changed))
}

/// Takes out an account that was added below a mark; `None` where it is not there, or not as it was.
pub(crate) fn remove(text: &str, name: &AccountName, account: &str, mark: &str) -> Option<String> {
    let block = format!("{mark}{account}");
    let start = text.find(&block)?;
    let after = &text[start + block.len()..];
    // Lines that follow at once belong to the account.
    if !after.is_empty() && !after.starts_with('\n') {
        return None;
    }
    let before = &text[..start];
    let before =
        before.strip_suffix('\n').filter(|rest| rest.is_empty() || rest.ends_with('\n')).unwrap_or(before);
    let rest = format!("{before}{after}");
    let left: Table = rest.parse().ok()?;
    let first_line = rest.split_inclusive('\n').next().unwrap_or_default();
    let only =
        accounts(&left).filter(|accounts| accounts.len() == 1).and_then(|accounts| accounts.keys().next());
    let is_ours = |name: &str| first_line == default_line(name);
    let is_default_written_by_us = is_ours(name.as_str()) || only.is_some_and(|only| is_ours(only));
    Some(if is_default_written_by_us { rest[first_line.len()..].to_owned() } else { rest })
}

/// Returns the account that was added for a file, as it is now.
pub(crate) fn added_for(text: &str, name: &AccountName, source: &Path) -> Option<Table> {
    let mark = mark(source);
    let body = &text[text.find(&mark)? + mark.len()..];
    let account: Table = body[..body.find("\n\n").map_or(body.len(), |end| end + 1)].parse().ok()?;
    accounts(&account)?.get(name.as_str())?.as_table().cloned()
}

/// Returns the account that was added for a file and variables, if it is as it was written, and the mark above it.
pub(crate) fn added_with_variables(
    text: &str,
    name: &AccountName,
    source: &Path,
) -> Option<(String, String)> {
    let start = beginning_with_variables(source);
    let blocks = text.match_indices(&start).map(|(at, _)| &text[at..]);
    blocks.filter_map(|block| block.split_once('\n')).find_map(|(_, rest)| {
        let account = &rest[..rest.find("\n\n").map_or(rest.len(), |end| end + 1)];
        let mark = mark_with_variables(source, account);
        let is_ours = text.contains(&format!("{mark}{account}")) && has(account, name.as_str());
        is_ours.then(|| (mark, account.to_owned()))
    })
}

/// Returns what an API key says that came to this account.
pub(crate) fn section_of(account: &Table) -> Option<Section> {
    let mut section = Section::default();
    for (key, name) in [("flyte", "endpoint"), ("client_id", "clientId")] {
        section.set(name, section::Value::Text(account.get(key)?.as_str()?.to_owned()));
    }
    section.set("authType", section::Value::Text("ClientSecret".to_owned()));
    section.secret = Some(SecretString::default());
    Some(section)
}

/// Tells whether there is an account of this name.
pub(crate) fn has(text: &str, name: &str) -> bool {
    text.parse::<Table>()
        .is_ok_and(|table| accounts(&table).is_some_and(|accounts| accounts.contains_key(name)))
}

/// Returns what an addition looks like.
fn block(text: &str, account: &str, mark: &str) -> String {
    let (end, gap) = match text {
        "" => ("", "\n"),
        text if text.ends_with('\n') => ("", "\n"),
        _ => ("\n", "\n"),
    };
    format!("{end}{gap}{mark}{account}")
}

/// Returns the line above an account that was made of a file.
pub(crate) fn mark(source: &Path) -> String {
    format!("{}\n", beginning(source))
}

/// Returns the line above an account that was made of variables, too. They may be gone when it is taken out again, so
/// a checksum tells whether it is as it was written.
pub(crate) fn mark_with_variables(source: &Path, account: &str) -> String {
    format!("{}{:016x}\n", beginning_with_variables(source), checksum(account))
}

fn beginning(source: &Path) -> String {
    // A name of a file may have a line break in it.
    let source: String = source.display().to_string().chars().filter(|c| !c.is_control()).collect();
    format!("# Added by keyfob setup flyte, from {source}")
}

fn beginning_with_variables(source: &Path) -> String {
    format!("{} and variables, checksum ", beginning(source))
}

/// FNV-1a: it finds changes that nobody hides.
fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn default_line(name: &str) -> String {
    format!("default_account = {}\n", Value::from(name))
}

fn accounts(table: &Table) -> Option<&Table> {
    table.get("accounts").and_then(Value::as_table)
}

fn parse(text: &str, file: &Path) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| {
        // What stands there may be a secret, so only the place is told.
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::Configuration { path: file.to_owned(), reason: format!("line {line} is no TOML") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "[accounts.flyte]\nflyte = \"dns:///h\"\ngrant = \"authorization_code\"\n";

    fn paths() -> (&'static Path, &'static Path) {
        (Path::new("/c/config.toml"), Path::new("/home/me/.flyte/config.yaml"))
    }

    fn added(text: &str) -> Result<Added, Error> {
        let (file, source) = paths();
        add(text, file, &"flyte".parse().unwrap(), ACCOUNT, &mark(source))
    }

    fn changed(text: &str) -> String {
        match added(text).unwrap() {
            Added::Changed(changed) => changed,
            Added::Unchanged => panic!("it was there already"),
        }
    }

    fn removed(text: &str, account: &str) -> Option<String> {
        remove(text, &"flyte".parse().unwrap(), account, &mark(paths().1))
    }

    #[test]
    fn an_account_is_added_at_the_end_and_becomes_the_default_where_there_is_none() {
        let text = changed("");
        let mark = "# Added by keyfob setup flyte, from /home/me/.flyte/config.yaml\n";
        assert_eq!(text, format!("default_account = \"flyte\"\n\n{mark}{ACCOUNT}"));
        let with_default =
            "default_account = \"a\"\n\n[accounts.a]\ngrant = \"command\" # mine\n\n[accounts.b]\nx = 1";
        assert_eq!(changed(with_default), format!("{with_default}\n\n{mark}{ACCOUNT}"));
        // The only account was the default until now, and stays it.
        let only = "# mine\n[accounts.a]\ngrant = \"command\"\n";
        assert_eq!(changed(only), format!("default_account = \"a\"\n{only}\n{mark}{ACCOUNT}"));
    }

    #[test]
    fn taking_it_out_again_leaves_what_was_there() {
        for text in [
            "",
            "# mine\n",
            "[accounts.a]\ngrant = \"command\"\n",
            "default_account = \"a\"\n[accounts.a]\nx = 1\n\n\n[accounts.b]\nx = 2\n",
        ] {
            assert_eq!(removed(&changed(text), ACCOUNT).as_deref(), Some(text), "{text:?}");
        }
        // What follows stays, too.
        let left = removed(&(changed("") + "\n[accounts.later]\nx = 1\n"), ACCOUNT).unwrap();
        assert!(!left.contains("flyte") && left.contains("[accounts.later]\nx = 1\n"), "{left:?}");
    }

    #[test]
    fn only_what_was_added_is_taken_out() {
        assert_eq!(removed(ACCOUNT, ACCOUNT), None, "a person wrote it");
        assert_eq!(removed(&changed("").replace("yaml", "yml"), ACCOUNT), None, "it is of another file");
        assert_eq!(removed(&changed("").replace("authorization", "device"), ACCOUNT), None, "it was changed");
        assert_eq!(removed(&(changed("") + "scopes = [\"all\"]\n"), ACCOUNT), None, "something was added");
    }

    #[test]
    fn an_account_made_of_variables_is_taken_out_where_nobody_changed_it() {
        let (file, source) = paths();
        let name = "flyte".parse().unwrap();
        let before = "[accounts.a]\nx = 1\n";
        let mark = mark_with_variables(source, ACCOUNT);
        let Added::Changed(text) = add(before, file, &name, ACCOUNT, &mark).unwrap() else {
            panic!("unchanged")
        };
        for following in ["", "\n[accounts.later]\nx = 1\n"] {
            let (mark, account) = added_with_variables(&format!("{text}{following}"), &name, source).unwrap();
            assert_eq!(account, ACCOUNT);
            assert_eq!(remove(&text, &name, &account, &mark).as_deref(), Some(before));
        }
        let changed = text.replace("dns:///h", "dns:///i");
        assert_eq!(added_with_variables(&changed, &name, source), None, "it was changed");
        assert_eq!(added_with_variables(&text, &name, file), None, "it is of another file");
        assert_eq!(added_with_variables(&text, &"a".parse().unwrap(), source), None, "it is another account");
    }

    #[test]
    fn an_account_is_found_by_the_file_it_was_added_for() {
        let (_, source) = paths();
        let text = changed("[accounts.a]\nx = 1\n") + "\n[accounts.b]\nx = 2\n";
        let name = "flyte".parse().unwrap();
        assert_eq!(added_for(&text, &name, source).unwrap()["flyte"].as_str(), Some("dns:///h"));
        assert_eq!(added_for(&text, &"a".parse().unwrap(), source), None);
        assert_eq!(added_for(ACCOUNT, &name, source), None);
    }

    #[test]
    fn the_same_account_is_there_already_and_another_of_its_name_is_refused() {
        assert_eq!(added(&changed("")).unwrap(), Added::Unchanged);
        let spelt_otherwise =
            "accounts = { flyte = { grant = \"authorization_code\", flyte = 'dns:///h' } }\n";
        assert_eq!(added(spelt_otherwise).unwrap(), Added::Unchanged);
        assert!(matches!(added("[accounts.flyte]\nx = 1\n"), Err(Error::NameTaken(_))));
    }

    #[test]
    fn a_configuration_that_cannot_be_extended_is_refused_without_its_words() {
        for text in ["accounts = { a = { x = 1 } }\n", "secret = CANARY\n"] {
            let error = added(text).unwrap_err().to_string();
            assert!(error.contains("/c/config.toml") && !error.contains("CANARY"), "{error}");
        }
    }
}
