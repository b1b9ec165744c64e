//! The variables that a client takes instead of what its file says, read as that client reads them.
//!
//! flytectl has none that a shell can set. The thing to get wrong: flytekit splits a list at commas alone, while flyte
//! takes a list in JSON or as a shell would. In one thing nobody is followed: flyte takes `false` for true, and an
//! account is not made less safe for that.

use std::path::Path;

use secrecy::SecretString;

use crate::setup::clients::Program;
use crate::setup::section::{Section, Value};
use crate::setup::shell;
use crate::setup::surroundings::Surroundings;

/// The variable without which flytekit, where it has no file, talks to a sandbox.
const ENDPOINT: &str = "FLYTE_PLATFORM_URL";

/// How the value of a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As the same text in a file.
    Text,
    /// A command, split at commas alone.
    Commas,
    /// A command in JSON, or as a shell splits it.
    Line,
    /// A secret.
    Secret,
}

/// A variable, the key that it stands for, and how it is read.
type Variable = (&'static str, &'static str, Form);

const FLYTEKIT: [Variable; 13] = [
    (ENDPOINT, "endpoint", Form::Text),
    ("FLYTE_PLATFORM_INSECURE", "insecure", Form::Text),
    ("FLYTE_PLATFORM_INSECURE_SKIP_VERIFY", "insecureSkipVerify", Form::Text),
    ("FLYTE_PLATFORM_CA_CERT_FILE_PATH", "caCertFilePath", Form::Text),
    ("FLYTE_PLATFORM_HTTP_PROXY_URL", "httpProxyURL", Form::Text),
    ("FLYTE_CREDENTIALS_AUTH_MODE", "authType", Form::Text),
    ("FLYTE_CREDENTIALS_COMMAND", "command", Form::Commas),
    ("FLYTE_CREDENTIALS_CLIENT_ID", "clientId", Form::Text),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET", "", Form::Secret),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET_LOCATION", LOCATION, Form::Text),
    ("FLYTE_CREDENTIALS_CLIENT_SECRET_ENV_VAR", VARIABLE, Form::Text),
    ("FLYTE_CREDENTIALS_SCOPES", "scopes", Form::Text),
    ("FLYTE_CREDENTIALS_AUDIENCE", "audience", Form::Text),
];

/// Of two for one key the first one counts.
const FLYTE: [Variable; 13] = [
    ("FLYTE_ADMIN_ENDPOINT", "endpoint", Form::Text),
    ("FLYTE_ADMIN_INSECURE", "insecure", Form::Text),
    ("FLYTE_ADMIN_INSECURESKIPVERIFY", "insecureSkipVerify", Form::Text),
    ("FLYTE_ADMIN_CACERTFILEPATH", "caCertFilePath", Form::Text),
    ("FLYTE_ADMIN_HTTPPROXYURL", "httpProxyURL", Form::Text),
    ("FLYTE_AUTH_TYPE", "authType", Form::Text),
    ("FLYTE_ADMIN_AUTHTYPE", "authType", Form::Text),
    ("FLYTE_AUTH_COMMAND", "command", Form::Line),
    ("FLYTE_ADMIN_COMMAND", "command", Form::Line),
    ("FLYTE_ADMIN_CLIENTID", "clientId", Form::Text),
    ("FLYTE_ADMIN_CLIENTSECRETLOCATION", LOCATION, Form::Text),
    ("FLYTE_ADMIN_CLIENTSECRETENVVAR", VARIABLE, Form::Text),
    ("FLYTE_ADMIN_SCOPES", "scopes", Form::Text),
];

const LOCATION: &str = "clientSecretLocation";
const VARIABLE: &str = "clientSecretEnvVar";

/// What stood in variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// Who reads them.
    pub(crate) reader: Program,
    /// Those that are set.
    pub(crate) names: Vec<&'static str>,
}

/// Tells whether a client without a file knows from its variables where Flyte is.
pub(crate) fn name_an_endpoint(surroundings: &Surroundings) -> bool {
    surroundings.variable(ENDPOINT).is_some()
}

/// Puts over a section what the first of some clients with variables takes instead.
pub(crate) fn put_over(
    section: &mut Section,
    readers: &[Program],
    surroundings: &Surroundings,
) -> Option<Overrides> {
    let overrides = readers.iter().find_map(|reader| {
        let set = table(*reader).iter().filter(|(name, ..)| surroundings.variable(name).is_some());
        let names: Vec<_> = set.map(|(name, ..)| *name).collect();
        (!names.is_empty()).then_some(Overrides { reader: *reader, names })
    })?;
    let mut names_secret = false;
    let mut secret = None;
    for (name, key, form) in table(overrides.reader).iter().rev() {
        let Some(text) = surroundings.variable(name) else { continue };
        names_secret |= [LOCATION, VARIABLE].contains(key);
        match form {
            Form::Text => section.set(key, Value::Text(text.to_owned())),
            Form::Commas => section.set(key, Value::List(text.split(',').map(str::to_owned).collect())),
            Form::Line => section.set(key, line(text)),
            Form::Secret => secret = Some(SecretString::from(text)),
        }
    }
    if names_secret && has_secret(section, surroundings) {
        // With a secret in hand both clients use it, whatever they are told.
        section.set("authType", Value::Text("ClientSecret".to_owned()));
    }
    // Alone, a secret in a variable is nothing to flytekit: it signs in by a browser then.
    if secret.is_some() && section.text("authType").is_some() {
        section.secret = secret;
    }
    Some(overrides)
}

fn table(reader: Program) -> &'static [Variable] {
    match reader {
        // union is built on flytekit.
        Program::Flytekit | Program::Union => &FLYTEKIT,
        Program::Flyte => &FLYTE,
        Program::Flytectl => &[],
    }
}

fn line(text: &str) -> Value {
    let json = serde_json::from_str::<Vec<String>>(text).ok();
    json.or_else(|| shell::split(text)).map_or_else(|| Value::Text(text.to_owned()), Value::List)
}

fn has_secret(section: &Section, surroundings: &Surroundings) -> bool {
    let is_filled = |path: &str| {
        let path = surroundings.directory.join(Path::new(path));
        std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
    };
    section.text(VARIABLE).is_some_and(|name| surroundings.variable(name).is_some())
        || section.text(LOCATION).is_some_and(is_filled)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let variables: BTreeMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let path = PathBuf::from("/nowhere");
        Surroundings {
            variables,
            home: path.clone(),
            directory: path.clone(),
            keyfob: None,
            config: path.join("config.toml"),
        }
    }

    fn over(readers: &[Program], variables: &[(&str, &str)]) -> Section {
        let mut section = Section::default();
        put_over(&mut section, readers, &surroundings(variables));
        section
    }

    #[test]
    fn a_command_is_split_as_the_client_that_reads_it_splits_it() {
        let cases: [(Program, &str, &str, &[&str]); 5] = [
            (Program::Flytekit, "FLYTE_CREDENTIALS_COMMAND", "shim,token, a b", &["shim", "token", " a b"]),
            (Program::Flyte, "FLYTE_AUTH_COMMAND", r#"["shim", "a b"]"#, &["shim", "a b"]),
            (Program::Flyte, "FLYTE_AUTH_COMMAND", "shim 'a b' x,y", &["shim", "a b", "x,y"]),
            (Program::Flyte, "FLYTE_ADMIN_COMMAND", "shim a", &["shim", "a"]),
            (Program::Union, "FLYTE_CREDENTIALS_COMMAND", "shim", &["shim"]),
        ];
        for (reader, name, value, words) in cases {
            let section = over(&[reader], &[(name, value)]);
            assert_eq!(section.command("command").unwrap(), words, "{value}");
        }
    }

    #[test]
    fn a_word_for_false_makes_no_account_less_safe() {
        for (word, truth) in [("false", false), ("Off", false), ("0", false), ("yes", true)] {
            for (reader, name) in
                [(Program::Flytekit, "FLYTE_PLATFORM_INSECURE"), (Program::Flyte, "FLYTE_ADMIN_INSECURE")]
            {
                assert_eq!(over(&[reader], &[(name, word)]).truth("insecure"), truth, "{name}={word}");
            }
        }
    }

    #[test]
    fn the_first_client_with_variables_decides_and_its_better_names_come_first() {
        let variables = [
            ("FLYTE_ADMIN_AUTHTYPE", "Pkce"),
            ("FLYTE_AUTH_TYPE", "DeviceFlow"),
            ("FLYTE_ADMIN_SCOPES", r#"["all", "offline"]"#),
        ];
        let readers = [Program::Flytekit, Program::Flytectl, Program::Flyte];
        let section = over(&readers, &variables);
        assert_eq!(section.text("authType"), Some("DeviceFlow"));
        assert_eq!(section.scopes("scopes"), ["all", "offline"]);
        let both = [variables.as_slice(), &[("FLYTE_CREDENTIALS_AUTH_MODE", "basic")]].concat();
        assert_eq!(over(&readers, &both).text("authType"), Some("basic"));
        assert_eq!(over(&[Program::Flytectl], &both).text("authType"), None);
    }

    #[test]
    fn a_secret_is_used_where_the_client_would_use_it() {
        let reader = &[Program::Flytekit];
        let direct = ("FLYTE_CREDENTIALS_CLIENT_SECRET", "CANARY");
        let section = over(reader, &[direct]);
        assert!(section.secret.is_none() && section.text("authType").is_none());
        assert!(over(reader, &[direct, ("FLYTE_CREDENTIALS_AUTH_MODE", "basic")]).secret.is_some());
        // Another place of it decides by itself, if there is a secret.
        let named = ("FLYTE_CREDENTIALS_CLIENT_SECRET_ENV_VAR", "CI_SECRET");
        let mode = ("FLYTE_CREDENTIALS_AUTH_MODE", "Pkce");
        assert_eq!(over(reader, &[named, mode]).text("authType"), Some("Pkce"));
        let set = over(reader, &[named, mode, ("CI_SECRET", "CANARY")]);
        assert_eq!(set.text("authType"), Some("ClientSecret"));
        let elsewhere = ("FLYTE_CREDENTIALS_CLIENT_SECRET_LOCATION", "/nowhere/secret");
        assert_eq!(over(reader, &[elsewhere, mode]).text("authType"), Some("Pkce"));
    }
}
