//! How a client signs in, by its configuration, and the same as an account of keyfob.
//!
//! The thing to get wrong: the same word means different things to different clients. Spellings are read as leniently as
//! the most lenient client reads them, and a file without `authType` as flytekit and flyte do: in the browser.

use std::path::Path;

use keyfob_protocol::account::AccountName;

use crate::setup::endpoint::Endpoint;
use crate::setup::error::Error;
use crate::setup::section::Section;

/// What an account needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) sign_in: SignIn,
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) ca_file: Option<String>,
    pub(crate) http_proxy: Option<String>,
    /// What only the client has a use for.
    pub(crate) organisation: Option<String>,
}

/// How tokens are got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    Browser,
    Device,
    Secret {
        client_id: String,
        secret: Secret,
    },
    Command(Vec<String>),
    /// It runs keyfob already.
    Keyfob(Vec<String>),
}

/// Where a client secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    File(String),
    Variable(String),
}

/// The client that flytectl takes where none is named.
const DEFAULT_CLIENT_ID: &str = "flytepropeller";

impl Settings {
    /// Reads a section; relative paths in it begin at `directory`. `own_secret` is where a secret that stands in the
    /// section is going to be.
    pub(crate) fn read(
        section: &Section,
        file: &Path,
        directory: &Path,
        own_secret: &Path,
    ) -> Result<Self, Error> {
        let endpoint = section.text("endpoint").ok_or_else(|| Error::NoEndpoint(file.to_owned()))?;
        let owned = |key| section.text(key).map(str::to_owned);
        Ok(Self {
            endpoint: Endpoint::parse(endpoint)?,
            sign_in: sign_in(section, directory, own_secret)?,
            scopes: section.scopes("scopes"),
            audience: owned("audience"),
            insecure: section.truth("insecure"),
            insecure_skip_verify: section.truth("insecureSkipVerify"),
            ca_file: owned("caCertFilePath").map(|path| absolute(&path, directory)),
            http_proxy: owned("httpProxyURL"),
            organisation: section.organisation.clone(),
        })
    }

    /// Returns the account as a table of keyfob's configuration.
    pub(crate) fn table(&self, name: &AccountName) -> String {
        // A name with a dot in it would be two.
        let key = if name.as_str().contains('.') { quoted(name.as_str()) } else { name.to_string() };
        let mut lines = vec![format!("[accounts.{key}]")];
        if let SignIn::Command(argv) | SignIn::Keyfob(argv) = &self.sign_in {
            lines.push(r#"grant = "command""#.to_owned());
            lines.push(format!("command = {}", list(argv)));
            return lines.join("\n") + "\n";
        }
        lines.push(format!("flyte = {}", quoted(&self.endpoint.to_string())));
        match &self.sign_in {
            SignIn::Browser => lines.push(r#"grant = "authorization_code""#.to_owned()),
            SignIn::Device => lines.push(r#"grant = "device_code""#.to_owned()),
            SignIn::Secret { client_id, secret } => {
                lines.push(r#"grant = "client_credentials""#.to_owned());
                lines.push(format!("client_id = {}", quoted(client_id)));
                let (kind, place) = match secret {
                    Secret::File(path) => ("file", path),
                    Secret::Variable(name) => ("env", name),
                };
                lines.push(format!("client_secret = {{ {kind} = {} }}", quoted(place)));
            }
            SignIn::Command(_) | SignIn::Keyfob(_) => {}
        }
        if !self.scopes.is_empty() {
            lines.push(format!("scopes = {}", list(&self.scopes)));
        }
        lines.extend(self.audience.iter().map(|audience| format!("audience = {}", quoted(audience))));
        lines.extend(self.insecure.then(|| "insecure = true".to_owned()));
        lines.extend(self.tls());
        lines.extend(self.http_proxy.iter().map(|proxy| format!("http_proxy = {}", quoted(proxy))));
        lines.join("\n") + "\n"
    }

    /// Tells whether this file is where the client secret is read from.
    pub(crate) fn reads(&self, file: &Path) -> bool {
        match &self.sign_in {
            SignIn::Secret { secret: Secret::File(path), .. } => Path::new(path) == file,
            SignIn::Secret { secret: Secret::Variable(_), .. }
            | SignIn::Browser
            | SignIn::Device
            | SignIn::Command(_)
            | SignIn::Keyfob(_) => false,
        }
    }

    /// Tells whether certificates are not checked. With a CA at hand they are, whatever else is asked for.
    pub(crate) fn skips_verification(&self) -> bool {
        self.insecure_skip_verify && self.ca_file.is_none()
    }

    fn tls(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.ca_file.iter().map(|path| format!("ca_file = {}", quoted(path))));
        parts.extend(self.skips_verification().then(|| "insecure_skip_verify = true".to_owned()));
        // A sandbox has its issuer on plain http, too.
        let is_sandbox = self.insecure && self.endpoint.is_loopback();
        parts.extend(is_sandbox.then(|| "allow_http_loopback = true".to_owned()));
        (!parts.is_empty()).then(|| format!("tls = {{ {} }}", parts.join(", ")))
    }
}

fn sign_in(section: &Section, directory: &Path, own_secret: &Path) -> Result<SignIn, Error> {
    let word = section.text("authType").map(|word| word.replace(['-', '_'], "").to_ascii_lowercase());
    match word.as_deref() {
        None if has_secret(section) => secret(section, directory, own_secret),
        None | Some("pkce" | "standard") => Ok(SignIn::Browser),
        Some("deviceflow" | "headless") => Ok(SignIn::Device),
        Some("clientsecret" | "clientcredentials" | "basic" | "appcredential") => {
            secret(section, directory, own_secret)
        }
        Some("externalcommand" | "externalprocess" | "command" | "custom") => {
            let argv = section.command("command")?;
            let program = argv.first().ok_or(Error::NoCommand)?;
            if is_keyfob(&argv) {
                return Ok(SignIn::Keyfob(argv));
            }
            // The daemon runs it in no directory that anybody would expect.
            let is_relative = program.contains('/') && !program.starts_with('/');
            let program = if is_relative { absolute(program, directory) } else { program.clone() };
            Ok(SignIn::Command([program].into_iter().chain(argv[1..].iter().cloned()).collect()))
        }
        Some(_) => Err(Error::UnknownAuthType),
    }
}

fn has_secret(section: &Section) -> bool {
    section.has("clientSecretLocation") || section.has("clientSecretEnvVar") || section.secret.is_some()
}

fn secret(section: &Section, directory: &Path, own_secret: &Path) -> Result<SignIn, Error> {
    // The clients' own order: the variable, then the file, then the section itself.
    let secret = if let Some(name) = section.text("clientSecretEnvVar") {
        Secret::Variable(name.to_owned())
    } else if let Some(path) = section.text("clientSecretLocation") {
        Secret::File(absolute(path, directory))
    } else if section.secret.is_some() {
        Secret::File(own_secret.display().to_string())
    } else {
        return Err(Error::Missing("clientSecretLocation"));
    };
    let client_id = section.text("clientId").unwrap_or(DEFAULT_CLIENT_ID).to_owned();
    Ok(SignIn::Secret { client_id, secret })
}

/// Tells whether a command asks keyfob for a token.
fn is_keyfob(argv: &[String]) -> bool {
    let program = argv.first().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == "keyfob") && argv.get(1).is_some_and(|verb| verb == "token")
}

fn absolute(path: &str, directory: &Path) -> String {
    directory.join(path).display().to_string()
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::section::Value;

    fn section(values: &[(&str, &str)]) -> Section {
        let mut section = Section::default();
        for (key, value) in values {
            section.set(key, Value::Text((*value).to_owned()));
        }
        section.set("endpoint", Value::Text("dns:///flyte.example.com".to_owned()));
        section
    }

    fn read(values: &[(&str, &str)]) -> Result<Settings, Error> {
        let [file, directory, secret] =
            ["/home/me/.flyte/config.yaml", "/project", "/keyfob/secret"].map(Path::new);
        Settings::read(&section(values), file, directory, secret)
    }

    fn table(values: &[(&str, &str)]) -> String {
        read(values).unwrap().table(&"prod".parse().unwrap())
    }

    #[test]
    fn every_spelling_of_a_way_to_sign_in_is_read() {
        let cases = [
            ("Pkce", "authorization_code"),
            ("standard", "authorization_code"),
            ("DeviceFlow", "device_code"),
            ("device-flow", "device_code"),
            ("ClientSecret", "client_credentials"),
            ("client_credentials", "client_credentials"),
            ("basic", "client_credentials"),
            ("ExternalCommand", "command"),
            ("external_process", "command"),
        ];
        for (word, grant) in cases {
            let table =
                table(&[("authType", word), ("clientSecretLocation", "/secret"), ("command", "gcloud auth")]);
            assert!(table.contains(&format!("grant = \"{grant}\"")), "{word}: {table}");
        }
        assert!(matches!(read(&[("authType", "Passthrough")]), Err(Error::UnknownAuthType)));
    }

    #[test]
    fn an_account_has_all_that_the_section_says() {
        let values = [
            ("authType", "ClientSecret"),
            ("clientId", "ci"),
            ("clientSecretLocation", "secrets/ci"),
            ("scopes", "all,offline"),
            ("audience", "https://api.example.com"),
            ("insecureSkipVerify", "true"),
            ("caCertFilePath", "/etc/ssl/corp.pem"),
            ("httpProxyURL", "http://proxy:3128"),
        ];
        let expected = r#"[accounts.prod]
flyte = "dns:///flyte.example.com"
grant = "client_credentials"
client_id = "ci"
client_secret = { file = "/project/secrets/ci" }
scopes = ["all", "offline"]
audience = "https://api.example.com"
tls = { ca_file = "/etc/ssl/corp.pem" }
http_proxy = "http://proxy:3128"
"#;
        assert_eq!(table(&values), expected);
    }

    #[test]
    fn a_sandbox_may_use_plain_http_and_nothing_else_may() {
        let sandbox = [("endpoint", "localhost:30080"), ("insecure", "true")];
        let mut section = section(&sandbox);
        section.set("endpoint", Value::Text("localhost:30080".to_owned()));
        let paths = ["/f", "/d", "/s"].map(Path::new);
        let settings = Settings::read(&section, paths[0], paths[1], paths[2]).unwrap();
        let table = settings.table(&"flyte".parse().unwrap());
        assert!(table.contains("insecure = true\ntls = { allow_http_loopback = true }\n"), "{table}");
        assert!(!self::table(&[("insecure", "true")]).contains("allow_http"));
    }

    #[test]
    fn certificates_go_unchecked_only_where_there_is_no_ca_to_check_them_by() {
        let skipping = ("insecureSkipVerify", "true");
        assert!(table(&[skipping]).contains("tls = { insecure_skip_verify = true }"));
        assert!(
            table(&[skipping, ("caCertFilePath", "/ca.pem")]).contains("tls = { ca_file = \"/ca.pem\" }")
        );
    }

    #[test]
    fn a_command_is_wrapped_unless_it_is_keyfob_already() {
        let wrapped =
            table(&[("authType", "ExternalCommand"), ("command", "gcloud auth print-identity-token")]);
        let expected = "[accounts.prod]\ngrant = \"command\"\ncommand = [\"gcloud\", \"auth\", \"print-identity-token\"]\n";
        assert_eq!(wrapped, expected);
        let ours = read(&[("authType", "ExternalCommand"), ("command", "/opt/keyfob,token,prod")]).unwrap();
        assert!(matches!(ours.sign_in, SignIn::Keyfob(_)));
        let relative = read(&[("authType", "ExternalCommand"), ("command", "./token.sh,x")]).unwrap();
        assert_eq!(relative.sign_in, SignIn::Command(vec!["/project/./token.sh".to_owned(), "x".to_owned()]));
    }

    #[test]
    fn without_a_way_to_sign_in_a_secret_decides() {
        assert!(table(&[]).contains("authorization_code"));
        let with_secret = table(&[("clientSecretEnvVar", "CI_SECRET")]);
        assert!(with_secret.contains("client_secret = { env = \"CI_SECRET\" }"), "{with_secret}");
        assert!(with_secret.contains("client_id = \"flytepropeller\""), "{with_secret}");
    }

    #[test]
    fn a_name_with_a_dot_is_one_name() {
        let text = read(&[]).unwrap().table(&"a.b".parse().unwrap());
        assert!(text.starts_with("[accounts.\"a.b\"]\n"), "{text}");
    }
}
