//! `client_secret`: where the secret is, and never the secret itself.

use std::path::Path;

use secrecy::SecretString;

use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::table::Table;
use crate::oauth::ClientSecret;

const SOURCES: [&str; 4] = ["file", "env", "command", "credential"];

/// Reads the table of a client secret.
pub(super) fn client_secret(
    table: &mut Table<'_>,
    environment: &Environment,
) -> Result<ClientSecret, Reported> {
    let file = table.parse("file", |path: &str| file(path, environment));
    let variable = table.parse("env", |name: &str| variable(name, environment));
    let command = table.list("command", argument);
    let credential = table.parse("credential", |name: &str| credential(name, environment));
    let given: Vec<_> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
    if let [first, second, ..] = given[..] {
        let wrong = Wrong::new(format!("is given beside {first}")).hint("keep one of the two");
        return Err(table.blame(second, wrong));
    }
    let command = match command? {
        Some(command) if command.first().is_none_or(String::is_empty) => {
            return Err(table.blame("command", Wrong::new("must begin with the name of a program")));
        }
        command => command,
    };
    let source = file?.or(variable?).or(command.map(ClientSecret::Command)).or(credential?);
    source.ok_or_else(|| {
        table.missing("file", Wrong::new("missing").hint("write file, env, command or credential"))
    })
}

fn file(path: &str, environment: &Environment) -> Result<ClientSecret, Wrong> {
    let absolute = environment.expand(path).filter(|path| !has_nul(path));
    absolute.map(ClientSecret::File).ok_or_else(|| Wrong::new("must be an absolute path, or begin with ~/"))
}

fn variable(name: &str, environment: &Environment) -> Result<ClientSecret, Wrong> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Wrong::new("must be the name of a variable"));
    }
    // Whether it is set depends on who starts the daemon: that is no mistake of the file, and costs this account alone.
    let Some(value) = environment.secret(name) else { return Ok(ClientSecret::Unset(name.to_owned())) };
    let text = value.to_str().ok_or_else(|| Wrong::new("the value of this variable is not UTF-8"))?;
    Ok(ClientSecret::Value(SecretString::from(text)))
}

fn argument(text: String) -> Result<String, Wrong> {
    if text.contains('\0') { Err(Wrong::new("must have no NUL character")) } else { Ok(text) }
}

/// Finds a credential that systemd passed to the service (`LoadCredential=`).
fn credential(name: &str, environment: &Environment) -> Result<ClientSecret, Wrong> {
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        return Err(Wrong::new("must be the name of a systemd credential, not a path"));
    }
    let directory = environment.variable("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        Wrong::new("keyfobd was started without credentials")
            .hint("pass them with LoadCredential= in the systemd service, or use file")
    })?;
    Ok(ClientSecret::File(Path::new(directory).join(name)))
}

fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}
