//! The configuration file: TOML in, accounts out. Every mistake is reported at once, each with its line.
//!
//! The text becomes a tree in which every key knows its place. Each table is walked by the code that knows its keys,
//! serde reads each value, and what is wrong goes to one report. Either there is no mistake, or there is no [`Config`].

mod account;
mod browser;
mod client;
mod client_secret;
pub mod environment;
mod extra_params;
pub mod file;
pub mod mistake;
mod policy;
mod program;
mod report;
mod rotation;
mod server;
mod table;
mod transport;
mod value;

use std::io;
use std::path::{Path, PathBuf};

use keyfob_protocol::account::AccountName;
use toml::de::DeTable;

use crate::account::Account;
use crate::account::suggestion::nearest;
use crate::config::account::account;
use crate::config::environment::Environment;
use crate::config::file::Danger;
use crate::config::mistake::Mistakes;
use crate::config::report::{Place, Report, Reported, Wrong};
use crate::config::table::{Entry, Table};
use crate::grant::program::SandboxExec;
use crate::store::key::KeyChoice;

/// What the configuration file says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The account that is meant where none is named. The only account is the default by itself.
    pub default_account: Option<AccountName>,
    /// The accounts, sorted by name.
    pub accounts: Vec<Account>,
    /// Where the key of the store is kept.
    pub store: KeyChoice,
    /// Where programs run while a unit confines the daemon.
    pub sandbox_exec: SandboxExec,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else may have written it.
    #[error("refusing {}: {}", .path.display(), .danger.sentence(.path))]
    Unsafe {
        /// The file, or its directory.
        path: PathBuf,
        /// How.
        danger: Danger,
    },
    /// What it says is wrong.
    #[error("{0}")]
    Mistakes(Mistakes),
}

impl Config {
    /// Reads the configuration file. Where there is none, there are no accounts.
    ///
    /// # Errors
    /// Fails if the file cannot be read, if others could have written it, or with every mistake in it.
    pub fn read(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let Some(bytes) = file::read(file)? else { return Ok(Self::default()) };
        Self::parse(file, &bytes, environment).map_err(ConfigError::Mistakes)
    }

    /// Reads the contents of the configuration file.
    pub(crate) fn parse(file: &Path, bytes: &[u8], environment: &Environment) -> Result<Self, Mistakes> {
        let text = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return Err(not_utf8(file, bytes, error.valid_up_to())),
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut report = Report::new(text);
        report.add_syntax(&errors);
        let config = Table::whole(document.get_ref(), &report, |table| config(table, environment));
        report.conclude(file, config)
    }
}

/// The choices for `store.key` that only a later version knows.
const LATER_KEY_CHOICES: [&str; 1] = ["passphrase_command"];

/// Reads the outermost table.
fn config(table: &mut Table<'_>, environment: &Environment) -> Result<Config, Reported> {
    let mut names = Vec::new();
    let accounts = table.table("accounts", "write [accounts.NAME]", |accounts| {
        names = accounts.keys();
        accounts.every("write [accounts.NAME]", |name, table| account(name, table, environment))
    });
    let store = table.table("store", "write [store]", |store| store.word("key", &LATER_KEY_CHOICES));
    let sandbox_exec = table.word("sandbox_exec", &[]);
    let default_account = default_account(table, &names);
    let accounts = accounts?.unwrap_or_default();
    let only = match &accounts[..] {
        [only] => Some(only.name.clone()),
        [] | [_, _, ..] => None,
    };
    Ok(Config {
        default_account: default_account?.or(only),
        accounts,
        store: store?.flatten().unwrap_or_default(),
        sandbox_exec: sandbox_exec?.unwrap_or_default(),
    })
}

fn default_account(table: &mut Table<'_>, known: &[&str]) -> Entry<AccountName> {
    const KEY: &str = "default_account";
    let Some(name) = table.read::<AccountName>(KEY)? else { return Ok(None) };
    if known.contains(&name.as_str()) {
        return Ok(Some(name));
    }
    let hint = match nearest(name.as_str(), known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write one as [accounts.{name}]"),
    };
    Err(table.blame_absence(KEY, Wrong::new(format!("no account \"{name}\"")).hint(hint)))
}

fn not_utf8(file: &Path, bytes: &[u8], offset: usize) -> Mistakes {
    let text = String::from_utf8_lossy(bytes);
    let report = Report::new(&text);
    let place = Place { path: String::new(), offset };
    report.add(&place, Wrong::new("not UTF-8").hint("save the file as UTF-8"));
    report.into_mistakes(file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::account::policy::{Access, Allowed, Policy};
    use crate::account::{Grant, IssuerSettings, Provider, Site};
    use crate::flyte::{Endpoint, Plaintext};
    use crate::grant::command::DEFAULT_ASSUMED_LIFETIME;
    use crate::oauth::DpopPolicy;
    use crate::oauth::{
        ClientAuthentication, ClientId, ClientSecret, CodeExchange, EndpointUrl, Endpoints, ExtraParameters,
        LoopbackHttp, Server,
    };
    use crate::token::Scope;

    /// Everything that a file may say.
    const FULL: &str = include_str!("config/fixtures/full.toml");

    fn environment() -> Environment {
        let variables = [
            ("HOME", "/home/ann"),
            ("CI_SECRET", "CANARY-VALUE"),
            ("EMPTY", ""),
            ("CREDENTIALS_DIRECTORY", "/run/credentials/keyfobd.service"),
        ];
        variables.map(|(name, value)| (name.into(), value.into())).into_iter().collect()
    }

    fn parse(text: &str) -> Result<Config, Mistakes> {
        Config::parse(Path::new("config.toml"), text.as_bytes(), &environment())
    }

    fn account(config: &Config, name: &str) -> Account {
        config.accounts.iter().find(|account| account.name.as_str() == name).unwrap().clone()
    }

    fn issuer_of(config: &Config, name: &str) -> IssuerSettings {
        let Provider::Issuer(issuer) = account(config, name).provider else { panic!("an issuer") };
        issuer
    }

    fn url(text: &str) -> EndpointUrl {
        EndpointUrl::parse(text, LoopbackHttp::Allowed).unwrap()
    }

    #[test]
    fn a_file_with_everything_gives_its_accounts() {
        let config = parse(FULL).unwrap();
        let names: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["browser", "ci", "corp", "flyte", "iap", "sandbox", "service", "signer", "vault"]);
        assert_eq!(config.default_account.as_ref().unwrap().as_str(), "corp");
        assert_eq!(config.store, KeyChoice::Keyring);
        assert_eq!(config.sandbox_exec, SandboxExec::Inherit);

        let corp = issuer_of(&config, "corp");
        let issuer = "https://login.example.com/tenant/".to_owned();
        assert_eq!(corp.site, Site::Issuer(Server::Discovered { issuer, loopback: LoopbackHttp::Refused }));
        assert_eq!(corp.client.id, ClientId::Given("cli".to_owned()));
        assert!(matches!(corp.client.authentication, ClientAuthentication::None));
        assert_eq!(corp.grant, Grant::DeviceCode);
        assert_eq!(corp.target.scope, Scope::parse("offline_access openid"));
        assert_eq!(corp.target.audience.as_deref(), Some("https://api.example.com"));
        assert_eq!(corp.loopback, LoopbackHttp::Refused);
        assert_eq!(corp.dpop, DpopPolicy::Auto);
        assert_eq!(issuer_of(&config, "flyte").dpop, DpopPolicy::Require);

        let browser = issuer_of(&config, "browser");
        let endpoints = Endpoints {
            authorization: Some(url("https://login.example.com/authorize?tenant=1")),
            ..Endpoints::at(url("https://login.example.com/token"))
        };
        assert_eq!(browser.site, Site::Issuer(Server::Given(endpoints)));
        assert_eq!(browser.grant, Grant::AuthorizationCode);
        assert_eq!(browser.target.resources, ["https://a", "urn:b"].map(str::to_owned).into());
        assert_eq!(browser.browser.redirect_uri, Some("http://localhost:53593/callback".parse().unwrap()));
        assert_eq!(browser.browser.pages.success.as_deref(), Some(Path::new("/home/ann/in.html")));
        assert_eq!(browser.browser.pages.failure.as_deref(), Some(Path::new("/etc/keyfob/out.html")));
        assert_eq!(browser.browser.code_exchange, CodeExchange::Repeating);
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        let extra = ExtraParameters {
            authorization: pair("prompt", "consent"),
            token: pair("tenant", "1"),
            refresh: pair("tenant", "2"),
        };
        assert_eq!(browser.extra, extra);
        let ClientAuthentication::SecretBasicRawId(ClientSecret::File(_)) = browser.client.authentication
        else {
            panic!("a file, basic with a raw id")
        };

        let ClientAuthentication::PrivateKeyJwt { key: ClientSecret::File(key), key_id } =
            issuer_of(&config, "signer").client.authentication
        else {
            panic!("a key in a file")
        };
        assert_eq!((key.as_path(), key_id.as_deref()), (Path::new("/run/secrets/key.pem"), Some("k1")));

        let ci = issuer_of(&config, "ci");
        let endpoints = Endpoints {
            revocation: Some(url("https://login.example.com/revoke")),
            ..Endpoints::at(url("https://login.example.com/token"))
        };
        assert_eq!(ci.site, Site::Issuer(Server::Given(endpoints)));
        assert_eq!(ci.grant, Grant::ClientCredentials);
        assert!(ci.target.scope.is_empty());
        assert_eq!(ci.target.audience, None);

        let sandbox = issuer_of(&config, "sandbox");
        let endpoints = Endpoints {
            device_authorization: Some(url("http://127.0.0.1:8080/device")),
            ..Endpoints::at(url("http://localhost:8080/token"))
        };
        assert_eq!(sandbox.site, Site::Issuer(Server::Given(endpoints)));
        assert_eq!(sandbox.loopback, LoopbackHttp::Allowed);
    }

    #[test]
    fn a_client_secret_is_found_where_the_file_says() {
        use ClientAuthentication::{SecretBasic, SecretPost};
        let config = parse(FULL).unwrap();
        let authentication = |name| issuer_of(&config, name).client.authentication;
        let SecretBasic(ClientSecret::File(path)) = authentication("ci") else { panic!("a file, basic") };
        assert_eq!(path, Path::new("/home/ann/.secrets/ci"));
        let SecretPost(ClientSecret::Value(value)) = authentication("sandbox") else {
            panic!("a value, post")
        };
        assert_eq!(value.expose_secret(), "CANARY-VALUE");
        let SecretBasic(ClientSecret::Command(line)) = authentication("vault") else {
            panic!("a command, basic")
        };
        assert_eq!(line, ["pass", "show", "vault"]);
        let SecretBasic(ClientSecret::File(path)) = authentication("service") else {
            panic!("a file, basic")
        };
        assert_eq!(path, Path::new("/run/credentials/keyfobd.service/service-secret"));
    }

    #[test]
    fn the_only_account_is_the_default_by_itself() {
        let one = "[accounts.prod]\nissuer = 'https://i'\nclient_id = 'c'\ngrant = 'device_code'\n";
        assert_eq!(parse(one).unwrap().default_account.unwrap().as_str(), "prod");
        let two = format!("{one}{}", one.replace("prod", "ci"));
        assert_eq!(parse(&two).unwrap().default_account, None);
    }

    #[test]
    fn an_empty_file_has_no_accounts() {
        for text in ["", "\n", "# nothing yet\n", "\u{feff}", "[accounts]\n", "[store]\n"] {
            let config = parse(text).unwrap();
            assert!(config.accounts.is_empty() && config.default_account.is_none(), "{text:?}");
            assert_eq!(config.store, KeyChoice::Auto);
        }
    }

    #[test]
    fn five_mistakes_give_five_lines() {
        let lines = [
            "default_account = 'prdo'",
            "",
            "[accounts.prod]",
            "issuer = 'https://login.example.com'",
            "client_id = 7",
            "grant = 'device_cod'",
            "scopes = ['openid', 'two words']",
            "",
            "[accounts.ci]",
            "isuer = 'https://login.example.com'",
            "client_id = 'ci'",
            "grant = 'device_code'",
        ];
        assert_eq!(
            parse(&lines.join("\n")).unwrap_err().to_string(),
            r#"config.toml:1: default_account: no account "prdo"; did you mean "prod"?
config.toml:5: accounts.prod.client_id: must be a string, not an integer
config.toml:6: accounts.prod.grant: unknown value "device_cod"; did you mean "device_code"?
config.toml:7: accounts.prod.scopes[1]: must be one scope, without spaces; write ["one", "two"]
config.toml:10: accounts.ci.isuer: unknown key; did you mean "issuer"?"#
        );
    }

    #[test]
    fn a_mistake_knows_its_column() {
        let mistakes = parse("\n[store]\nkey = 3\n[accounts.\u{fc}]\n  'a\u{fc}' = 1\n").unwrap_err();
        let places: Vec<_> = mistakes
            .list
            .iter()
            .map(|mistake| (mistake.line, mistake.column, mistake.path.as_str()))
            .collect();
        assert_eq!(places[0], (3, 7, "store.key"));
        assert_eq!(places.last(), Some(&(5, 3, "accounts.\"\u{fc}\".\"a\u{fc}\"")));
    }

    #[test]
    fn text_that_is_not_toml_is_reported_line_by_line_with_what_can_be_read_of_the_rest() {
        let lines = [
            "[accounts.prod]",
            "issuer = https://login.example.com",
            r#"client_id = "prod"#,
            r#"grant = "device_code""#,
            r#"grant = "device_cod""#,
            r#"colour = "red""#,
            r#"scopes = ["a" "b"]"#,
            "",
            "[accounts.ci",
            r#"client_id = "ci""#,
            "",
            "[store]",
            r#"key = "keyrign""#,
            "colour",
        ];
        assert_eq!(
            parse(&lines.join("\n")).unwrap_err().to_string(),
            r#"config.toml:2: string values must be quoted, expected literal string
config.toml:3: invalid basic string, expected `"`
config.toml:5: grant: duplicate key; keep one of the two
config.toml:6: accounts.prod.colour: unknown key; known here: audience, authorization_endpoint, client_authentication, client_id, client_secret, device_authorization_endpoint, dpop, extra_params, flyte, grant, http_proxy, insecure, issuer, policy, private_key, private_key_id, resources, revocation_endpoint, rotation, rotation_grace, scopes, tls, token_endpoint
config.toml:7: missing comma between array elements, expected `,`
config.toml:9: unclosed table, expected `]`
config.toml:13: store.key: unknown value "keyrign"; did you mean "keyring"?
config.toml:14: key with no value, expected `=`"#
        );
    }

    #[test]
    fn nothing_is_said_about_what_may_only_have_been_misread() {
        for (text, sentences) in [
            (
                "[accounts.a]\nissuer = nonsense\nclient_id = 'c'\ngrant = 'device_code'",
                "2: invalid float, expected `nan`; if it is a text, put it in quotes",
            ),
            ("[accounts.a]\nclient_id = 0oauth", "2: invalid octal number"),
            ("[accounts.a]\nclient_id =", "2: there is no value"),
            ("[accounts.a]\nissuer = 'https://i'\ngrant", "3: key with no value, expected `=`"),
            ("default_account = 'a'\n[accounts.a\nissuer = 'https://i'", "2: unclosed table, expected `]`"),
            (
                "[store]\nkey = 'auto'\n[store]\ncolour = 1",
                "3: store: duplicate key; keep one of the two\n4: store.colour: unknown key; known here: key",
            ),
        ] {
            assert_eq!(of(text), sentences, "{text}");
        }
    }

    #[test]
    fn a_table_that_is_there_twice_is_reported_where_it_is_repeated() {
        let text =
            "[accounts.a]\nissuer = 'https://i'\nclient_id = 'a'\ngrant = 'device_code'\n[accounts.a]\n";
        assert_eq!(
            parse(text).unwrap_err().to_string(),
            "config.toml:5: a: duplicate key; keep one of the two"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_reported_with_their_line() {
        let parse =
            |bytes: &[u8]| Config::parse(Path::new("c"), bytes, &environment()).unwrap_err().to_string();
        assert_eq!(parse(b"# one\n# \xff two\n"), "c:2: not UTF-8; save the file as UTF-8");
        assert_eq!(parse(b"# one\n\xff"), "c:2: not UTF-8; save the file as UTF-8");
    }

    #[test]
    fn outside_the_accounts_each_mistake_has_its_sentence() {
        for (text, sentences) in [
            (
                "colour = 1",
                "1: colour: unknown key; known here: accounts, default_account, sandbox_exec, store",
            ),
            ("acounts = {}", "1: acounts: unknown key; did you mean \"accounts\"?"),
            ("accounts = 3", "1: accounts: must be a table, not an integer; write [accounts.NAME]"),
            ("[[accounts]]\nx = 1", "1: accounts: must be a table, not an array; write [accounts.NAME]"),
            (
                "[accounts]\nprod = 'x'",
                "2: accounts.prod: must be a table, not a string; write [accounts.NAME]",
            ),
            ("store = 2026-01-01", "1: store: must be a table, not a date; write [store]"),
            ("[store]\nkind = 'auto'", "2: store.kind: unknown key; known here: key"),
            ("[store]\nkey = []", "2: store.key: must be a string, not an array"),
            (
                "[store]\nkey = 'cloud'",
                "2: store.key: unknown value; use \"auto\", \"keyring\", \"credential\", \"file\" or \"memory\"",
            ),
            (
                "[store]\nkey = 'passphrase_command'",
                "2: store.key: this version of keyfob does not support \"passphrase_command\" yet",
            ),
            ("default_account = 1.5", "1: default_account: must be a string, not a float"),
            (
                "default_account = 'prod'",
                "1: default_account: no account \"prod\"; write one as [accounts.prod]",
            ),
            (
                "default_account = '~'",
                "1: default_account: \"~\" is no account name: use 1 to 64 letters, digits, '_', '.' or '-', and \
                 begin with a letter or a digit",
            ),
        ] {
            assert_eq!(of(text), sentences, "{text}");
        }
    }

    /// Returns the mistakes of a text, without the name of the file.
    fn of(text: &str) -> String {
        parse(text).unwrap_err().to_string().replace("config.toml:", "")
    }

    /// Returns the mistakes of an account, with lines counted from the first of these.
    fn in_account(lines: &str) -> String {
        of(&format!("[accounts.a]\n{lines}")).replace("accounts.a.", "")
    }

    #[test]
    fn where_the_server_is_each_mistake_has_its_sentence() {
        const BESIDE: &str =
            "the metadata of the issuer names the endpoints; remove either the issuer or all endpoints";
        const HTTPS: &str =
            "must be https; plain http is for loopback only, with tls = { allow_http_loopback = true }";
        const INSTEAD: &str = "write the URL, or an issuer in place of all endpoints";
        for (lines, sentences) in [
            (
                "",
                "1: issuer: missing; write the URL of the issuer, or a token_endpoint where it publishes no \
                 metadata"
                    .to_owned(),
            ),
            ("issuer = 1", "2: issuer: must be a string, not an integer".to_owned()),
            ("issuer = 'login'", "2: issuer: must be a URL; begin with https://".to_owned()),
            ("issuer = 'https://i?x=1'", "2: issuer: must have no query".to_owned()),
            ("issuer = 'https://i#x'", "2: issuer: must have no fragment".to_owned()),
            ("issuer = 'https://ann:pw@i'", "2: issuer: must have no user name or password".to_owned()),
            ("issuer = ' https://i'", "2: issuer: must have no spaces or control characters".to_owned()),
            (r#"issuer = "https://i\n""#, "2: issuer: must have no spaces or control characters".to_owned()),
            ("issuer = 'http://localhost'", format!("2: issuer: {HTTPS}")),
            ("issuer = 'http://i'\ntls = { allow_http_loopback = true }", format!("2: issuer: {HTTPS}")),
            (
                "issuer = 'https://i'\ntoken_endpoint = 'https://t'\nrevocation_endpoint = 'https://r'",
                format!("3: token_endpoint: {BESIDE}\n4: revocation_endpoint: {BESIDE}"),
            ),
            ("revocation_endpoint = 'https://r'\ndevice_authorization_endpoint = 'https://d'", {
                format!("1: token_endpoint: missing; {INSTEAD}")
            }),
            (
                "token_endpoint = 'https://t'",
                format!(
                    "1: device_authorization_endpoint: missing, and grant = \"device_code\" begins there; {INSTEAD}"
                ),
            ),
            (
                "issuer = 'https://i'\ntls = true",
                "3: tls: must be a table, not a boolean; write tls = { ca_file = \"/path/to/ca.pem\" }"
                    .to_owned(),
            ),
            (
                "issuer = 'http://localhost'\ntls = { allow_http_loopback = 'yes' }",
                "3: tls.allow_http_loopback: must be a boolean, not a string".to_owned(),
            ),
            (
                "issuer = 'https://i'\ntls = { allow_http_loopbak = true }",
                "3: tls.allow_http_loopbak: unknown key; did you mean \"allow_http_loopback\"?".to_owned(),
            ),
            (
                "issuer = 'https://i'\ntls = { ca_file = 'ca.pem' }",
                "3: tls.ca_file: must be an absolute path, or begin with ~/".to_owned(),
            ),
            (
                "issuer = 'https://i'\ntls = { insecure_skip_verify = true, ca_file = '/ca.pem' }",
                "3: tls.insecure_skip_verify: believes every certificate, so that ca_file has no meaning; remove one \
                 of the two"
                    .to_owned(),
            ),
        ] {
            let lines = format!("{lines}\nclient_id = 'c'\ngrant = 'device_code'");
            assert_eq!(in_account(&lines), sentences, "{lines}");
        }
    }

    #[test]
    fn endpoints_that_are_given_are_checked_like_those_of_the_metadata_6749_12_8414_4_9700_9() {
        const KEYS: [&str; 4] = [
            "token_endpoint",
            "authorization_endpoint",
            "device_authorization_endpoint",
            "revocation_endpoint",
        ];
        // As for the members of metadata: nothing may be sent there.
        let bad = [
            "http://i/t",
            "https://i/t#f",
            "https://u@i/t",
            "file:///t",
            "javascript:alert(1)",
            "/t",
            "$(id)",
        ];
        for key in KEYS {
            for bad in bad {
                let lines: String = KEYS
                    .iter()
                    .map(|name| format!("{name} = '{}'\n", if *name == key { bad } else { "https://i/x" }))
                    .collect();
                let mistakes = in_account(&format!("client_id = 'c'\ngrant = 'device_code'\n{lines}"));
                assert!(mistakes.contains(&format!(": {key}: must ")), "{key} {bad}: {mistakes}");
                assert_eq!(mistakes.lines().count(), 1, "{mistakes}");
            }
        }
    }

    #[test]
    fn a_flyte_endpoint_is_enough() {
        let prod = issuer_of(
            &parse("[accounts.prod]\nflyte = 'https://flyte/'\ngrant = 'device_code'\n").unwrap(),
            "prod",
        );
        let endpoint = Endpoint::parse("dns:///flyte", Plaintext::Refused).unwrap();
        assert_eq!((prod.site, prod.client.id), (Site::Flyte(endpoint), ClientId::FromEndpoint));
        assert!(prod.target.scope.is_empty());
        let text = "[accounts.ci]\nflyte = 'flyte:81'\ninsecure = true\ngrant = 'client_credentials'\nclient_id = 'ci'\n\
                    client_secret = { file = '/s' }\n";
        let ci = parse(text).unwrap();
        let endpoint = Endpoint::parse("http://flyte:81", Plaintext::Wanted).unwrap();
        assert_eq!(issuer_of(&ci, "ci").site, Site::Flyte(endpoint));
        assert_eq!(issuer_of(&ci, "ci").client.id, ClientId::Given("ci".to_owned()));
        assert_eq!(
            account(&ci, "ci").warnings(),
            [
                "the Flyte endpoint is asked without TLS: whoever stands between can send the login elsewhere (insecure)"
            ]
        );
    }

    #[test]
    fn about_a_flyte_endpoint_each_mistake_has_its_sentence() {
        const BESIDE: &str = "the Flyte endpoint says where to log in; remove either flyte or this";
        for (lines, sentences) in [
            (
                "flyte = 'dns:///f'\nissuer = 'https://i'\ntoken_endpoint = 'https://t'",
                format!("3: issuer: {BESIDE}\n4: token_endpoint: {BESIDE}"),
            ),
            ("flyte = 'http://f'", "2: flyte: must not begin with http:// unless insecure = true".to_owned()),
            ("flyte = 'https://f/console'", "2: flyte: must end with the host, or with its port".to_owned()),
            ("flyte = 'f'\ninsecure = 'no'", "3: insecure: must be a boolean, not a string".to_owned()),
            (
                "issuer = 'https://i'\nclient_id = 'c'\ninsecure = true",
                "4: insecure: is for a Flyte endpoint alone; remove it, or write flyte = \"dns:///host\""
                    .to_owned(),
            ),
        ] {
            assert_eq!(in_account(&format!("{lines}\ngrant = 'device_code'")), sentences, "{lines}");
        }
    }

    #[test]
    fn about_the_client_each_mistake_has_its_sentence() {
        const WRITE: &str = r#"write { file = "/path/to/it" }"#;
        for (grant, lines, sentences) in [
            ("device_code", "", "1: client_id: missing; write the id that the issuer gave you".to_owned()),
            ("device_code", "clientid = 'c'", "4: clientid: unknown key; did you mean \"client_id\"?".to_owned()),
            (
                "device_code",
                "client_id = ''",
                "4: client_id: must be one or more visible ASCII characters".to_owned(),
            ),
            (
                "device_code",
                "client_id = \"a\\u0000\"",
                "4: client_id: must be one or more visible ASCII characters".to_owned(),
            ),
            (
                "client_credentials",
                "client_id = 'c'",
                format!("1: client_secret: missing, and grant = \"client_credentials\" needs it; {WRITE}"),
            ),
            (
                "device_code",
                "client_id = 'c'\nclient_authentication = 'client_secret_post'",
                format!("1: client_secret: missing, and client_authentication needs it; {WRITE}"),
            ),
            (
                "device_code",
                "client_id = 'c'\nclient_authentication = 'tls_client_auth'",
                "5: client_authentication: unknown value; use \"client_secret_basic\", \"client_secret_basic_raw_id\", \"client_secret_post\", \
                 \"private_key_jwt\" or \"none\""
                    .to_owned(),
            ),
            (
                "client_credentials",
                "client_id = 'c'\nclient_secret = { file = '/s' }\nprivate_key = { file = '/k' }",
                "6: private_key: is given beside client_secret; keep one of the two".to_owned(),
            ),
            (
                "client_credentials",
                "client_id = 'c'\nclient_authentication = 'client_secret_post'\nprivate_key = { file = '/k' }",
                "5: client_authentication: has no use for a private_key; write \"private_key_jwt\"".to_owned(),
            ),
            (
                "device_code",
                "client_id = 'c'\nclient_authentication = 'private_key_jwt'",
                format!("1: private_key: missing, and client_authentication needs it; {WRITE}"),
            ),
            (
                "device_code",
                "client_id = 'c'\nprivate_key_id = 'k'",
                "5: private_key_id: names a key, but there is no private_key".to_owned(),
            ),
            (
                "client_credentials",
                "client_id = 'c'\nprivate_key = { file = '/k' }\nprivate_key_id = ''",
                "6: private_key_id: must be a text without control characters; leave it out for none".to_owned(),
            ),
            (
                "client_credentials",
                "client_id = 'c'\nclient_authentication = 'none'\nclient_secret = { file = '/s' }",
                "5: client_authentication: \"none\" sends no secret, but there is a client_secret; remove one of \
                 the two"
                    .to_owned(),
            ),
        ] {
            let lines = format!("issuer = 'https://i'\ngrant = '{grant}'\n{lines}");
            assert_eq!(in_account(&lines), sentences, "{lines}");
        }
    }

    #[test]
    fn about_a_client_secret_each_mistake_has_its_sentence() {
        const MISSING: &str = "client_secret.file: missing; write file, env, command or credential";
        const ABSOLUTE: &str = "client_secret.file: must be an absolute path, or begin with ~/";
        const PROGRAM: &str = "client_secret.command: must begin with the name of a program";
        const NAME: &str = "client_secret.credential: must be the name of a systemd credential, not a path";
        const VARIABLE: &str = "client_secret.env: must be the name of a variable";
        for (value, sentence) in [
            (
                "'hunter2'",
                "client_secret: must be a table, not a string; keep the secret out of this file: write \
                 { file = \"/path/to/it\" }, or env, command, credential",
            ),
            ("{}", MISSING),
            ("{ flie = '/s' }", "client_secret.flie: unknown key; did you mean \"file\"?"),
            (
                "{ file = '/s', env = 'CI_SECRET' }",
                "client_secret.env: is given beside file; keep one of the two",
            ),
            ("{ file = 's' }", ABSOLUTE),
            ("{ file = '' }", ABSOLUTE),
            ("{ file = '~ben/s' }", ABSOLUTE),
            ("{ file = \"/s\\u0000\" }", ABSOLUTE),
            ("{ env = '' }", VARIABLE),
            ("{ env = 'A=b' }", VARIABLE),
            (
                "{ command = 'pass show ci' }",
                "client_secret.command: must be an array of strings, not a string",
            ),
            ("{ command = ['pass', 3] }", "client_secret.command[1]: must be a string, not an integer"),
            ("{ command = [] }", PROGRAM),
            ("{ command = [''] }", PROGRAM),
            ("{ command = [\"pass\\u0000\"] }", "client_secret.command[0]: must have no NUL character"),
            ("{ credential = '../ci' }", NAME),
            ("{ credential = '..' }", NAME),
            ("{ credential = '' }", NAME),
        ] {
            let lines = format!(
                "issuer = 'https://i'\nclient_id = 'c'\ngrant = 'client_credentials'\nclient_secret = {value}"
            );
            assert_eq!(in_account(&lines), format!("5: {sentence}"), "{value}");
        }
    }

    #[test]
    fn what_the_environment_lacks_is_said() {
        let text = "[accounts.a]\nissuer = 'https://i'\nclient_id = 'c'\ngrant = 'client_credentials'\n";
        for (value, sentence) in [
            ("file = '~/s'", "client_secret.file: must be an absolute path, or begin with ~/"),
            (
                "credential = 's'",
                "client_secret.credential: keyfobd was started without credentials; pass them with \
                 LoadCredential= in the systemd service, or use file",
            ),
        ] {
            let text = format!("{text}client_secret = {{ {value} }}");
            let mistakes =
                Config::parse(Path::new("c"), text.as_bytes(), &Environment::default()).unwrap_err();
            assert_eq!(mistakes.to_string(), format!("c:5: accounts.a.{sentence}"));
        }
    }

    #[test]
    fn about_the_rest_of_an_account_each_mistake_has_its_sentence() {
        const SCOPE: &str = "must be visible ASCII characters other than \" and \\";
        const AUDIENCE: &str =
            "4: audience: must be a text without control characters; leave it out for none";
        for (lines, sentences) in [
            (
                "",
                "1: grant: missing; write \"authorization_code\", \"device_code\", \"client_credentials\" or \"command\"".to_owned(),
            ),
            (
                "grant = 'implicit'",
                "4: grant: unknown value; use \"authorization_code\", \"device_code\", \"client_credentials\" or \"command\""
                    .to_owned(),
            ),
            (
                "grant = 'device-code'",
                "4: grant: unknown value \"device-code\"; did you mean \"device_code\"?".to_owned(),
            ),
            ("audience = ''\ngrant = 'device_code'", AUDIENCE.to_owned()),
            ("audience = \"a\\u0000\"\ngrant = 'device_code'", AUDIENCE.to_owned()),
            (
                "scopes = 'openid email'\ngrant = 'device_code'",
                "4: scopes: must be an array of strings, not a string".to_owned(),
            ),
            (
                "scopes = [\n'fine',\n'', '\"', 3,\n'\\', '\u{e9}']\ngrant = 'device_code'",
                format!(
                    "6: scopes[1]: {SCOPE}\n6: scopes[2]: {SCOPE}\n6: scopes[3]: must be a string, not an \
                     integer\n7: scopes[4]: {SCOPE}\n7: scopes[5]: {SCOPE}"
                ),
            ),
        ] {
            let lines = format!("issuer = 'https://i'\nclient_id = 'c'\n{lines}");
            assert_eq!(in_account(&lines), sentences, "{lines}");
        }
    }

    #[test]
    fn a_bad_account_name_is_reported_once_and_harmlessly() {
        let keys = "issuer = 'https://i'\nclient_id = 'c'\ngrant = 'device_code'\n";
        assert_eq!(
            of(&format!("[accounts.\"a\\u001B[31m\"]\n{keys}")),
            "1: accounts.\"a\\u{1b}[31m\": \"a\\u{1b}[31m\" is no account name: use 1 to 64 letters, digits, '_', \
             '.' or '-', and begin with a letter or a digit"
        );
    }

    #[test]
    fn what_a_later_version_supports_is_named_and_nothing_else_is_asked_for() {
        assert_eq!(
            of("[store]\nkey = 'passphrase_command'\n"),
            "2: store.key: this version of keyfob does not support \"passphrase_command\" yet"
        );
    }

    #[test]
    fn about_a_program_each_mistake_has_its_sentence() {
        const MISSING: &str =
            "1: command: missing, and grant = \"command\" runs it; write [\"program\", \"argument\"]";
        const EMPTY: &str = "must be a text that is not empty and has no NUL character";
        const PATH: &str =
            "3: command: must begin with an absolute path, or with a name that is found by PATH";
        const SECONDS: &str = "4: assume_lifetime: must be a number of seconds from 1 to 31536000";
        for (lines, sentences) in [
            ("", MISSING.to_owned()),
            ("comand = ['x']", "3: comand: unknown key; did you mean \"command\"?".to_owned()),
            ("command = 'gcloud x'", "3: command: must be an array of strings, not a string".to_owned()),
            ("command = []", "3: command: must begin with the name of a program".to_owned()),
            ("command = ['']", format!("3: command[0]: {EMPTY}")),
            ("command = ['x', '', \"a\\u0000\"]", format!("3: command[1]: {EMPTY}\n3: command[2]: {EMPTY}")),
            ("command = ['x', 3]", "3: command[1]: must be a string, not an integer".to_owned()),
            ("command = ['./x']", PATH.to_owned()),
            ("command = ['~/bin/x']", PATH.to_owned()),
            ("command = ['x']\nassume_lifetime = 0", SECONDS.to_owned()),
            ("command = ['x']\nassume_lifetime = -60", SECONDS.to_owned()),
            ("command = ['x']\nassume_lifetime = 31536001", SECONDS.to_owned()),
            (
                "command = ['x']\nassume_lifetime = 99999999999999999999",
                "4: assume_lifetime: is too large".to_owned(),
            ),
            (
                "command = ['x']\nassume_lifetime = '50m'",
                "4: assume_lifetime: must be an integer, not a string".to_owned(),
            ),
            (
                "command = ['x']\nassume_lifetime = 1.5",
                "4: assume_lifetime: must be an integer, not a float".to_owned(),
            ),
        ] {
            assert_eq!(in_account(&format!("grant = 'command'\n{lines}")), sentences, "{lines}");
        }
    }

    #[test]
    fn a_key_that_means_nothing_with_its_grant_is_a_mistake() {
        let keys = [
            "issuer = 'https://i'",
            "authorization_endpoint = 'https://a'",
            "token_endpoint = 'https://t'",
            "device_authorization_endpoint = 'https://d'",
            "revocation_endpoint = 'https://r'",
            "client_id = 'c'",
            "client_secret = { file = '/s' }",
            "client_authentication = 'none'",
            "scopes = ['all']",
            "audience = 'a'",
            "private_key = { file = '/k' }",
            "private_key_id = 'k'",
            "resources = ['https://r']",
            "dpop = 'off'",
            "extra_params = { token = { a = 'b' } }",
            "redirect_uri = 'http://127.0.0.1/callback'",
            "success_page = '/p'",
            "failure_page = '/p'",
            "repeat_authorization_params = true",
            "tls = { allow_http_loopback = true }",
            "http_proxy = 'environment'",
        ];
        for line in keys {
            let key = line.split_once(' ').unwrap().0;
            assert_eq!(
                in_account(&format!("grant = 'command'\ncommand = ['x']\n{line}")),
                format!("4: {key}: has no meaning with grant = \"command\"; remove it")
            );
        }
        for grant in ["authorization_code", "device_code", "client_credentials"] {
            let issuer = format!("{}\n{}\n{}\ngrant = '{grant}'", keys[0], keys[5], keys[6]);
            assert_eq!(
                in_account(&format!("{issuer}\ncommand = ['x']\nassume_lifetime = 9")),
                format!(
                    "6: command: has no meaning with grant = \"{grant}\"; remove it\n\
                     7: assume_lifetime: has no meaning with grant = \"{grant}\"; remove it"
                )
            );
        }
    }

    #[test]
    fn what_a_browser_needs_means_nothing_without_one() {
        for grant in ["device_code", "client_credentials"] {
            let meaningless = format!("has no meaning with grant = \"{grant}\"; remove it");
            assert_eq!(
                in_account(&format!(
                    "issuer = 'https://i'\nclient_id = 'c'\nclient_secret = {{ file = '/s' }}\ngrant = '{grant}'\n\
                     redirect_uri = 'http://localhost'\nsuccess_page = '/p'\nfailure_page = '/p'\n\
                     repeat_authorization_params = true"
                )),
                format!(
                    "6: redirect_uri: {meaningless}\n7: success_page: {meaningless}\n8: failure_page: \
                     {meaningless}\n9: repeat_authorization_params: {meaningless}"
                )
            );
        }
    }

    #[test]
    fn whether_a_refresh_token_is_bound_to_a_key_is_one_of_three_words() {
        let account = |grant: &str, more: &str| {
            format!(
                "issuer = 'https://i'\nclient_id = 'c'\nclient_secret = {{ file = '/s' }}\ngrant = '{grant}'\n{more}"
            )
        };
        for (word, expected) in
            [("auto", DpopPolicy::Auto), ("off", DpopPolicy::Off), ("require", DpopPolicy::Require)]
        {
            let text = format!("[accounts.a]\n{}\n", account("device_code", &format!("dpop = '{word}'")));
            assert_eq!(issuer_of(&parse(&text).unwrap(), "a").dpop, expected);
        }
        assert_eq!(
            in_account(&account("device_code", "dpop = 'requier'")),
            r#"6: dpop: unknown value "requier"; did you mean "require"?"#
        );
        assert_eq!(
            in_account(&account("client_credentials", "dpop = 'auto'")),
            r#"6: dpop: has no meaning with grant = "client_credentials"; remove it"#
        );
    }

    #[test]
    fn about_the_rotation_of_refresh_tokens_each_mistake_has_its_sentence() {
        const RANGE: &str = "must be a number of seconds from 1 to 3600";
        let account = |grant: &str, more: &str| {
            in_account(&format!(
                "issuer = 'https://i'\nclient_id = 'c'\nclient_secret = {{ file = '/s' }}\ngrant = '{grant}'\n{more}"
            ))
        };
        for (lines, sentence) in [
            (
                "rotation = 'strikt'",
                r#"6: rotation: unknown value "strikt"; did you mean "strict"?"#.to_owned(),
            ),
            (
                "rotation = 'grace'",
                "1: rotation_grace: missing; write how many seconds the issuer takes a replaced token"
                    .to_owned(),
            ),
            ("rotation = 'grace'\nrotation_grace = 0", format!("7: rotation_grace: {RANGE}")),
            ("rotation = 'grace'\nrotation_grace = 3601", format!("7: rotation_grace: {RANGE}")),
            (
                "rotation_grace = 10",
                r#"6: rotation_grace: has no meaning without rotation = "grace"; remove it"#.to_owned(),
            ),
            (
                "rotation_grace = 10\nrotation = 'strict'",
                r#"6: rotation_grace: has no meaning without rotation = "grace"; remove it"#.to_owned(),
            ),
        ] {
            assert_eq!(account("device_code", lines), sentence, "{lines}");
        }
        assert_eq!(
            account("client_credentials", "rotation = 'strict'"),
            r#"6: rotation: has no meaning with grant = "client_credentials"; remove it"#
        );
    }

    #[test]
    fn about_a_login_in_a_browser_each_mistake_has_its_sentence_8707_1() {
        const PAGE: &str = "must be an absolute path, or begin with ~/";
        const OURS: &str = "is sent by keyfob itself; remove it, or use the key of the account that sets it";
        const VALUE: &str = "must be a text without control characters; leave it out for none";
        for (lines, sentences) in [
            (
                "redirect_uri = 'https://example.com/cb'",
                "5: redirect_uri: it must begin with http://127.0.0.1, http://[::1] or http://localhost: the \
                 browser comes back to this machine"
                    .to_owned(),
            ),
            (
                "redirect_uri = 'http://localhost:0/cb'",
                "5: redirect_uri: its port must be a number from 1 to 65535, or left out".to_owned(),
            ),
            ("success_page = 'p.html'", format!("5: success_page: {PAGE}")),
            ("failure_page = \"/p\\u0000\"", format!("5: failure_page: {PAGE}")),
            (
                "repeat_authorization_params = 'yes'",
                "5: repeat_authorization_params: must be a boolean, not a string".to_owned(),
            ),
            (
                "resources = ['/api', 'https://a#b', 'https://a b', 'https://a?b=c', 'urn:a:b', '']",
                "5: resources[0]: must be an absolute URI; begin with https:// or urn:\n\
                 5: resources[1]: must have no fragment\n\
                 5: resources[2]: must be an absolute URI; begin with https:// or urn:\n\
                 5: resources[5]: must be an absolute URI; begin with https:// or urn:"
                    .to_owned(),
            ),
            (
                "extra_params = 'a=b'",
                "5: extra_params: must be a table, not a string; write { authorization = { name = \"value\" } }, \
                 or token, refresh"
                    .to_owned(),
            ),
            (
                "extra_params = { authorisation = { a = 'b' } }",
                "5: extra_params.authorisation: unknown key; did you mean \"authorization\"?".to_owned(),
            ),
            (
                "extra_params = { token = { a = 1, b = '', c = 'fine' } }",
                format!("5: extra_params.token.a: must be a string, not an integer\n5: extra_params.token.b: {VALUE}"),
            ),
            (
                "[accounts.a.extra_params.authorization]\nprompt = 'consent'\nstate = 'fixed'\nscope = 'all'",
                format!(
                    "7: extra_params.authorization.state: {OURS}\n8: extra_params.authorization.scope: {OURS}"
                ),
            ),
            (
                "extra_params = { refresh = { 'a b' = 'c' } }",
                "5: extra_params.refresh.\"a b\": the name of a parameter must be visible ASCII characters".to_owned(),
            ),
        ] {
            let lines =
                format!("issuer = 'https://i'\nclient_id = 'c'\ngrant = 'authorization_code'\n{lines}");
            assert_eq!(in_account(&lines), sentences, "{lines}");
        }
        let endpoints = "token_endpoint = 'https://t'\nclient_id = 'c'\ngrant = 'authorization_code'";
        assert_eq!(
            in_account(endpoints),
            "1: authorization_endpoint: missing, and grant = \"authorization_code\" begins there; write the URL, or \
             an issuer in place of all endpoints"
        );
    }

    #[test]
    fn who_may_have_tokens_is_taken_as_it_is_written_with_links_followed() {
        let policy = account(&parse(FULL).unwrap(), "corp").policy;
        let found = |path: &str| std::fs::canonicalize(path).ok();
        let programs = vec![
            Allowed::Program("/usr/bin/true".into(), found("/usr/bin/true")),
            Allowed::Below("/opt/tools".into(), found("/opt/tools")),
        ];
        let units = ["agent.service", "app-x@1.scope"].map(str::to_owned).to_vec();
        let expected = Policy {
            programs: Some(programs),
            units: Some(units),
            scopes: Some(Scope::parse("openid")),
            access: Access::Confirm,
        };
        assert_eq!(policy, expected);
        assert_eq!(account(&parse(FULL).unwrap(), "iap").policy, Policy::default());

        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        std::fs::write(directory.join("program"), "").unwrap();
        std::os::unix::fs::symlink("program", directory.join("link")).unwrap();
        let link = directory.join("link");
        let text =
            format!("[accounts.a]\ngrant = 'command'\ncommand = ['x']\npolicy = {{ programs = [{link:?}] }}");
        let programs = account(&parse(&text).unwrap(), "a").policy.programs.unwrap();
        assert_eq!(programs, [Allowed::Program(link, Some(directory.join("program")))]);
    }

    #[test]
    fn about_who_may_have_tokens_each_mistake_has_its_sentence() {
        const PATH: &str = "must be the absolute path of a program, or of a directory with a / at its end";
        const UNIT: &str = "must be the name of a systemd unit that ends in .service or .scope";
        const ONE: &str = "must name one at least; leave it out for all, or write access = \"deny\" for none";
        for (lines, sentences) in [
            (
                "policy = 'deny'",
                "5: policy: must be a table, not a string; write [accounts.NAME.policy]".to_owned(),
            ),
            (
                "[accounts.a.policy]\nprogramms = ['/x']",
                "6: policy.programms: unknown key; did you mean \"programs\"?".to_owned(),
            ),
            (
                "[accounts.a.policy]\nprograms = ['git', '/usr/../bin/x',\n'~/x', '', \"/a\\u0000\"]",
                format!(
                    "6: policy.programs[0]: {PATH}\n6: policy.programs[1]: {PATH}\n7: policy.programs[2]: {PATH}\n\
                     7: policy.programs[3]: {PATH}\n7: policy.programs[4]: {PATH}"
                ),
            ),
            (
                "[accounts.a.policy]\nprograms = ['/', '/usr']",
                "6: policy.programs[0]: would be every program; leave it out for all\n\
                 6: policy.programs[1]: is a directory; write a / at its end"
                    .to_owned(),
            ),
            (
                "[accounts.a.policy]\nprograms = []\nunits = []\nscopes = []",
                format!("6: policy.programs: {ONE}\n7: policy.units: {ONE}\n8: policy.scopes: {ONE}"),
            ),
            (
                "[accounts.a.policy]\nunits = ['a', '.service', 'a.slice', 'a b.service', 'a/b.scope']",
                (0..5).map(|at| format!("6: policy.units[{at}]: {UNIT}")).collect::<Vec<_>>().join("\n"),
            ),
            (
                "[accounts.a.policy]\nscopes = ['a b']\naccess = 'ask'",
                "6: policy.scopes[0]: must be one scope, without spaces; write [\"one\", \"two\"]\n\
                 7: policy.access: unknown value; use \"allow\", \"confirm\" or \"deny\""
                    .to_owned(),
            ),
        ] {
            let lines = format!("issuer = 'https://i'\nclient_id = 'c'\ngrant = 'device_code'\n{lines}");
            assert_eq!(in_account(&lines), sentences, "{lines}");
        }
        let of_a_program = "grant = 'command'\ncommand = ['x']\npolicy = { scopes = ['a'], access = 'deny' }";
        let expected = "4: policy.scopes: has no meaning with grant = \"command\"; remove it";
        assert_eq!(in_account(of_a_program), expected);
    }

    #[test]
    fn an_account_with_a_program_and_a_wrong_grant_is_asked_for_no_issuer() {
        assert_eq!(
            in_account("grant = 'comand'\ncommand = ['gcloud']"),
            "2: grant: unknown value \"comand\"; did you mean \"command\"?"
        );
        assert_eq!(
            in_account("command = ['gcloud']"),
            "1: grant: missing; write \"authorization_code\", \"device_code\", \"client_credentials\" or \"command\""
        );
    }

    #[test]
    fn a_program_is_taken_as_it_is_written() {
        let Provider::Program(iap) = account(&parse(FULL).unwrap(), "iap").provider else {
            panic!("a program")
        };
        assert_eq!(iap.argv, ["gcloud", "auth", "print-identity-token"]);
        assert_eq!(iap.assume_lifetime, Duration::from_secs(3000));
        let unsaid = parse("[accounts.a]\ngrant = 'command'\ncommand = ['/bin/x']\n").unwrap();
        let Provider::Program(unsaid) = account(&unsaid, "a").provider else { panic!("a program") };
        assert_eq!(unsaid.assume_lifetime, DEFAULT_ASSUMED_LIFETIME);
    }

    #[test]
    fn no_message_repeats_a_value_that_could_be_a_secret() {
        const CANARY: &str = "CANARY-hunter2";
        let keys = [
            "issuer",
            "authorization_endpoint",
            "redirect_uri",
            "success_page",
            "resources",
            "extra_params",
            "private_key",
            "private_key_id",
            "token_endpoint",
            "device_authorization_endpoint",
            "revocation_endpoint",
            "client_id",
            "grant",
            "scopes",
            "audience",
            "client_secret",
            "client_authentication",
            "tls",
            "command",
            "assume_lifetime",
            "flyte",
            "secret",
        ];
        let values = [
            format!("'{CANARY}'"),
            CANARY.to_owned(),
            format!("'{CANARY}"),
            format!("'https://ann:{CANARY}@login.example.com'"),
            format!("['{CANARY}\u{e9}', 3]"),
            format!("{{ file = '{CANARY}' }}"),
            format!("{{ env = '{CANARY}' }}"),
            format!("{{ command = '{CANARY}' }}"),
            format!("{{ credential = '/{CANARY}' }}"),
        ];
        for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))) {
            let mistakes = parse(&format!("[accounts.a]\n{key} = {value}\n")).unwrap_err();
            assert!(!format!("{mistakes} {mistakes:?}").contains(CANARY), "{key} = {value}: {mistakes}");
        }
        assert!(!format!("{:?} {:?}", parse(FULL).unwrap(), environment()).contains("CANARY"));
    }

    #[test]
    fn a_file_of_nonsense_costs_little_and_is_cut_short() {
        let keys: String = (0..50_000).map(|number| format!("key{number} = {number}\n")).collect();
        for text in [
            "=\n".repeat(20_000),
            "[".repeat(1 << 19),
            "a.".repeat(1 << 18),
            format!("[accounts]\n{keys}"),
            keys,
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.list.len() <= 100, "{} mistakes", mistakes.list.len());
            assert!(mistakes.to_string().len() < 50_000);
        }
        let keys: String = (0..150).map(|number| format!("key{number} = 1\n")).collect();
        assert!(of(&keys).ends_with("\n 50 more mistakes like these"));
    }

    #[test]
    fn where_there_is_no_file_there_are_no_accounts() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::read(&directory.path().join("none/config.toml"), &environment()).unwrap();
        assert!(config.accounts.is_empty());
    }

    #[test]
    fn an_error_names_the_file_and_what_mends_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "colour = 1\n").unwrap();
        let sentence = || Config::read(&file, &environment()).unwrap_err().to_string();
        assert!(
            sentence().starts_with(&format!("{}:1: colour: unknown key", file.display())),
            "{}",
            sentence()
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o620)).unwrap();
        let path = std::fs::canonicalize(&file).unwrap();
        let path = path.display();
        assert_eq!(sentence(), format!("refusing {path}: others may write it; run chmod go-w {path}"));
    }

    /// Returns lines that make sense, each for itself.
    fn fragments() -> Vec<String> {
        let odd = [
            "[accounts]",
            "[accounts.a]",
            "[[accounts]]",
            "[[accounts.a]]",
            "[accounts.a.tls]",
            "accounts = {}",
            "accounts.a = { tls = { allow_http_loopback = true } }",
            "accounts.a.tls = 1",
            "tls.x = 1",
            "tls = []",
            "[store.key]",
            "store.key = 'file'",
            "store = { key = 'file' }",
            "[",
            "]",
            "\"\"\"",
            "= 1",
            "[a.\"\".b]",
        ];
        FULL.lines().chain(odd).map(|line| format!("{line}\n")).collect()
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            r"\PC{0,200}".prop_map(String::into_bytes),
            r#"([\[\]{}="'.,\#\\\r\n a-c1]|accounts|"""|'''){0,200}"#.prop_map(String::into_bytes),
            prop::sample::subsequence(fragments(), 0..60)
                .prop_shuffle()
                .prop_map(|lines| lines.concat().into_bytes()),
        ]) {
            let outcome = Config::parse(Path::new("c"), &bytes, &environment());
            prop_assert!(!outcome.is_err_and(|mistakes| mistakes.list.is_empty()));
        }

        #[test]
        fn a_damaged_file_gives_mistakes_on_lines_that_it_has(
            edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..30_usize, "[\\[\\]{}=\"'.#,\n a-z0-9é\\\\]{0,4}"), 1..6),
        ) {
            let mut text: Vec<char> = FULL.chars().collect();
            for (at, removed, inserted) in edits {
                let start = at.index(text.len());
                let end = (start + removed).min(text.len());
                text.splice(start..end, inserted.chars());
            }
            let text: String = text.into_iter().collect();
            if let Err(mistakes) = parse(&text) {
                prop_assert!(!mistakes.list.is_empty());
                prop_assert!(mistakes.list.is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
                for mistake in &mistakes.list {
                    let line = text.lines().nth(mistake.line - 1);
                    prop_assert!(line.is_some_and(|line| mistake.column <= line.chars().count() + 1), "{}\n{}", mistake, text);
                }
            }
        }
    }
}
