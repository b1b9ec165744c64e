//! `tls` and `http_proxy`: how an account reaches the other side.
//!
//! The thing to get wrong: a proxy's URL may have a password in it, and the environment's may too. Neither is repeated.

use std::path::PathBuf;

use crate::config::environment::Environment;
use crate::config::report::{Reported, Wrong};
use crate::config::table::Table;
use crate::oauth::LoopbackHttp;
use crate::oauth::proxy::{InvalidProxy, Proxy, ProxyUrl, ProxyVariables};
use crate::oauth::transport::{Transport, Trust};

/// The keys of an account that say how it reaches the other side.
pub(super) const KEYS: [&str; 2] = ["tls", PROXY];

const PROXY: &str = "http_proxy";

/// What `http_proxy` says for the proxies of the environment.
const ENVIRONMENT: &str = "environment";

/// A variable in its two spellings, and what a person changes to have another proxy.
struct Variable {
    names: [&'static str; 2],
    setting: &'static str,
}

const HTTPS: Variable =
    Variable { names: ["HTTPS_PROXY", "https_proxy"], setting: "HTTPS_PROXY in the environment of keyfobd" };
const HTTP: Variable =
    Variable { names: ["HTTP_PROXY", "http_proxy"], setting: "HTTP_PROXY in the environment of keyfobd" };
const ALL: Variable =
    Variable { names: ["ALL_PROXY", "all_proxy"], setting: "ALL_PROXY in the environment of keyfobd" };
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What `tls` says.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) loopback: LoopbackHttp,
    trust: Trust,
}

/// Reads `tls`.
pub(super) fn tls(table: &mut Table<'_>, environment: &Environment) -> Result<Tls, Reported> {
    let form = "write tls = { ca_file = \"/path/to/ca.pem\" }";
    let given = table.table("tls", form, |table| {
        let loopback = table.read("allow_http_loopback");
        let ca_file = table.parse("ca_file", |path: &str| ca_file(path, environment));
        let skip = table.read("insecure_skip_verify");
        let trust = match (ca_file?, skip?.unwrap_or(false)) {
            (Some(_), true) => {
                let wrong = Wrong::new("believes every certificate, so that ca_file has no meaning");
                return Err(table.blame("insecure_skip_verify", wrong.hint("remove one of the two")));
            }
            (Some(path), false) => Trust::AlsoFile(path),
            (None, true) => Trust::Anyone,
            (None, false) => Trust::System,
        };
        let loopback = if loopback?.unwrap_or(false) { LoopbackHttp::Allowed } else { LoopbackHttp::Refused };
        Ok(Tls { loopback, trust })
    });
    Ok(given?.unwrap_or(Tls { loopback: LoopbackHttp::Refused, trust: Trust::System }))
}

/// Reads `http_proxy`, and puts it beside what `tls` says.
pub(super) fn transport(
    table: &mut Table<'_>,
    tls: Result<&Tls, Reported>,
    environment: &Environment,
) -> Result<Transport, Reported> {
    let proxy = table.parse(PROXY, |text: &str| proxy(text, environment));
    let trust = tls?.trust.clone();
    Ok(Transport { trust, proxy: proxy?.unwrap_or_default() })
}

fn ca_file(path: &str, environment: &Environment) -> Result<PathBuf, Wrong> {
    let absolute = environment.expand(path).filter(|_| !path.contains('\0'));
    absolute.ok_or_else(|| Wrong::new("must be an absolute path, or begin with ~/"))
}

fn proxy(text: &str, environment: &Environment) -> Result<Proxy, Wrong> {
    if text == ENVIRONMENT {
        return variables(environment).map(Proxy::Environment);
    }
    ProxyUrl::parse(text, PROXY).map(Proxy::Url).map_err(|invalid| {
        Wrong::new(invalid.to_string()).hint("write \"environment\" for the proxies of the environment")
    })
}

fn variables(environment: &Environment) -> Result<ProxyVariables, Wrong> {
    let all = ALL.read(environment)?;
    let no = match value(&NO, environment)? {
        Some((_, no)) => no.to_owned(),
        None => String::new(),
    };
    Ok(ProxyVariables {
        https: HTTPS.read(environment)?.or_else(|| all.clone()),
        http: HTTP.read(environment)?.or(all),
        no,
    })
}

impl Variable {
    fn read(&self, environment: &Environment) -> Result<Option<ProxyUrl>, Wrong> {
        let Some((name, text)) = value(&self.names, environment)? else { return Ok(None) };
        // There, a scheme may be left out.
        let parsed = if text.contains("://") {
            ProxyUrl::parse(text, self.setting)
        } else {
            ProxyUrl::parse(&format!("http://{text}"), self.setting)
        };
        parsed.map(Some).map_err(|invalid: InvalidProxy| {
            Wrong::new(format!("{name} in the environment of keyfobd {invalid}"))
                .hint("mend it where keyfobd starts, or write a URL here")
        })
    }
}

/// Returns the first of two spellings that is set, and its value.
fn value<'e>(
    names: &[&'static str; 2],
    environment: &'e Environment,
) -> Result<Option<(&'static str, &'e str)>, Wrong> {
    let set = names.iter().find_map(|name| Some((*name, environment.secret(name)?)));
    let Some((name, value)) = set else { return Ok(None) };
    match value.to_str() {
        Some(text) => Ok(Some((name, text))),
        None => Err(Wrong::new(format!("{name} in the environment of keyfobd is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::account::{Account, Provider};
    use crate::config::Config;

    /// Reads an account with these lines, in an environment with these variables.
    fn account(lines: &str, variables: &[(&str, &str)]) -> Result<Account, String> {
        let text =
            format!("[accounts.a]\nissuer = 'https://i'\nclient_id = 'c'\ngrant = 'device_code'\n{lines}\n");
        let variables = variables.iter().chain(&[("HOME", "/home/ann")]);
        let environment = variables.map(|(name, value)| (name.into(), value.into())).collect();
        match Config::parse(Path::new("c"), text.as_bytes(), &environment) {
            Ok(mut config) => Ok(config.accounts.remove(0)),
            Err(mistakes) => Err(mistakes.to_string()),
        }
    }

    fn transport(lines: &str, variables: &[(&str, &str)]) -> Transport {
        match account(lines, variables).unwrap().provider {
            Provider::Issuer(issuer) => issuer.transport,
            Provider::Program(_) => panic!("an issuer"),
        }
    }

    fn proxies(variables: &[(&str, &str)]) -> [Option<String>; 2] {
        let Proxy::Environment(found) = transport("http_proxy = 'environment'", variables).proxy else {
            panic!("those of the environment")
        };
        [found.https, found.http].map(|proxy| proxy.map(|proxy| proxy.to_string()))
    }

    #[test]
    fn an_account_says_whom_it_believes_and_what_stands_between() {
        let variables = [("HTTPS_PROXY", "http://elsewhere:1")];
        assert_eq!(transport("", &variables), Transport::default());
        let ca_file = transport("tls = { ca_file = '~/ca.pem', insecure_skip_verify = false }", &[]);
        assert_eq!(ca_file.trust, Trust::AlsoFile("/home/ann/ca.pem".into()));
        let given = transport("http_proxy = 'socks5h://u:p@proxy'", &variables).proxy;
        assert_eq!(given, Proxy::Url(ProxyUrl::parse("socks5h://u:p@proxy:1080", PROXY).unwrap()));
    }

    #[test]
    fn the_environment_counts_only_where_it_is_asked_for_and_in_both_spellings() {
        let (one, other) = (Some("http://one:1".to_owned()), Some("http://other:2".to_owned()));
        assert_eq!(proxies(&[("https_proxy", "one:1")]), [one.clone(), None]);
        assert_eq!(proxies(&[("HTTPS_PROXY", "http://one:1"), ("https_proxy", "x:9")]), [one.clone(), None]);
        assert_eq!(proxies(&[("HTTPS_PROXY", ""), ("https_proxy", "one:1")]), [one.clone(), None]);
        assert_eq!(proxies(&[("all_proxy", "one:1"), ("http_proxy", "other:2")]), [one, other]);
        assert_eq!(proxies(&[]), [None, None]);
    }

    #[test]
    fn what_weakens_an_account_is_a_warning() {
        let weak = account("tls = { insecure_skip_verify = true, allow_http_loopback = true }", &[]).unwrap();
        assert_eq!(
            weak.warnings(),
            [
                "plain http to loopback is allowed (tls.allow_http_loopback)",
                "certificates are not checked (tls.insecure_skip_verify)",
            ]
        );
        assert_eq!(account("tls = { ca_file = '/x' }", &[]).unwrap().warnings(), [""; 0]);
    }

    #[test]
    fn the_way_to_an_issuer_does_not_make_other_tokens() {
        let direct = account("", &[]).unwrap();
        for lines in ["http_proxy = 'http://proxy:1'", "tls = { ca_file = '/x' }"] {
            assert_eq!(account(lines, &[]).unwrap().fingerprint(), direct.fingerprint(), "{lines}");
        }
    }

    #[test]
    fn each_mistake_has_its_sentence_and_repeats_no_proxy() {
        const OR: &str = "write \"environment\" for the proxies of the environment";
        const MEND: &str = "mend it where keyfobd starts, or write a URL here";
        let secret = [("https_proxy", "ftp://CANARY:CANARY@p")];
        for (lines, variables, sentence) in [
            (
                "http_proxy = 'CANARY'",
                &[][..],
                format!("must be the URL of a proxy, such as http://proxy:3128; {OR}"),
            ),
            (
                "http_proxy = 'ftp://CANARY@p'",
                &[],
                format!("must begin with http://, https://, socks5:// or socks5h://; {OR}"),
            ),
            ("http_proxy = 'http://p/CANARY'", &[], format!("must end with the proxy's host and port; {OR}")),
            ("http_proxy = true", &[], "must be a string, not a boolean".to_owned()),
            (
                "http_proxy = 'environment'",
                &secret,
                format!(
                    "https_proxy in the environment of keyfobd must begin with http://, https://, socks5:// or \
                     socks5h://; {MEND}"
                ),
            ),
        ] {
            let mistake = account(lines, variables).unwrap_err();
            assert_eq!(mistake, format!("c:5: accounts.a.http_proxy: {sentence}"));
        }
    }
}
