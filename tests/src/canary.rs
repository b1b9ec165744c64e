//! A daemon that has, or had, a secret of every kind, and where they are to be looked for.
//!
//! Two issuers have TLS, so that its buffers count as well; the third takes browsers. The thing to get wrong: a secret that
//! is not known cannot be found, so the keys are taken from a copy of the daemon's own store.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyfob_daemon::clock::Clock;
use keyfob_daemon::store::key::KeyChoice;
use keyfob_daemon::store::{Location, Sources, Store};
use keyfob_protocol::login::LoginState;

use crate::browser::Browser;
use crate::certificate::{Authority, Validity};
use crate::config::HEAD;
use crate::daemon::Daemon;
use crate::home::Home;
use crate::issuer::FakeIssuer;
use crate::issuer::dpop::Dpop;
use crate::issuer::settings::{Client, Settings};
use crate::memory::Marked;
use crate::person;

/// The accounts that a person signs in to: by a code, and in a browser.
pub const LOGINS: [&str; 2] = ["prod", "web"];

/// The account that has a secret in place of a person.
pub const CLIENT: &str = "ci";

const CLIENT_SECRET: &str = "CANARY-CS-0123456789abcdef";

/// A daemon with all kinds of accounts, and their issuers.
#[derive(Debug)]
pub struct Canary {
    /// The daemon.
    pub daemon: Daemon,
    /// The issuer with TLS, of `prod`.
    pub secure: FakeIssuer,
    /// Another one with TLS, of `ci`.
    pub client: FakeIssuer,
    /// The issuer of `web`.
    pub plain: FakeIssuer,
}

impl Canary {
    /// Starts it, signs in everywhere, and renews every token.
    ///
    /// # Panics
    /// Panics where a login fails.
    #[track_caller]
    pub fn sing() -> Self {
        let authority = Authority::new();
        let settings = || Settings {
            clients: vec![Client::public("cli"), Client::post("ci", CLIENT_SECRET)],
            access_lifetime: Duration::from_secs(60),
            dpop: Dpop { advertised: true, ..Dpop::default() },
            ..Settings::default()
        };
        let with_tls = || {
            let identity = authority.certify(&["127.0.0.1"], Validity::Now);
            FakeIssuer::start_with_tls(settings(), "127.0.0.1", identity)
        };
        let (secure, client) = (with_tls(), with_tls());
        let plain = FakeIssuer::start(settings());
        let home = Home::new().set("CI_SECRET", CLIENT_SECRET);
        home.write("ca.pem", &authority.pem(), 0o600);
        home.configure(&config([&secure, &client, &plain]));
        let canary = Self { daemon: Daemon::start_in(home), secure, client, plain };
        canary.log_in();
        for account in LOGINS {
            canary.daemon.renew(account);
        }
        canary.daemon.token(CLIENT);
        canary
    }

    #[track_caller]
    fn log_in(&self) {
        let (_, code) = self.daemon.begin_login("prod");
        person::approve(&self.secure.page(), &code);
        Browser::open().visit(&self.daemon.begin_visit("web"));
        for account in LOGINS {
            assert_eq!(self.daemon.login_outcome(account), LoginState::SignedIn, "{}", self.daemon.log());
        }
    }

    /// Returns every secret that the daemon has or had, each once. Its logins must be there.
    pub fn secrets(&self) -> Vec<Marked> {
        let mut secrets = vec![Marked::new("client secret", CLIENT_SECRET)];
        for issuer in [&self.secure, &self.client, &self.plain] {
            let ledger = issuer.ledger();
            for token in ledger.families.iter().flat_map(|family| &family.refresh_tokens) {
                let kind = if token.consumed.is_some() { "spent refresh token" } else { "refresh token" };
                secrets.push(Marked::new(kind, token.token.as_str()));
            }
            let access = ledger.access_tokens.iter();
            secrets.extend(access.map(|token| Marked::new("access token", token.token.as_str())));
            for request in &ledger.token_requests {
                let kinds = [
                    ("device_code", "device code"),
                    ("code", "authorization code"),
                    ("code_verifier", "PKCE verifier"),
                ];
                let sent = kinds.map(|(name, kind)| Some(Marked::new(kind, request.parameter(name)?)));
                secrets.extend(sent.into_iter().flatten());
            }
        }
        let id_token = self.daemon.token_with("web", "kind=id").access_token;
        secrets.push(Marked::new("ID token", id_token));
        let hexadecimal = fs::read_to_string(self.daemon.home().path(KEY_FILE)).unwrap().trim().to_owned();
        let byte = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        let key: Vec<u8> = (0..hexadecimal.len()).step_by(2).map(byte).collect();
        secrets.push(Marked::new("store key", key));
        secrets.push(Marked::new("store key (hexadecimal)", hexadecimal));
        secrets.extend(self.proof_keys().into_iter().map(|key| Marked::new("DPoP key", key)));
        secrets.sort_by(|one, other| one.bytes.cmp(&other.bytes));
        secrets.dedup_by(|one, other| one.bytes == other.bytes);
        secrets
    }

    /// Returns the private numbers of the keys that refresh tokens are bound to, from a copy of the store.
    fn proof_keys(&self) -> [Vec<u8>; 2] {
        /// Where ring has the number in the PKCS#8 form of a P-256 key.
        const NUMBER: std::ops::Range<usize> = 36..68;
        let copy = tempfile::tempdir().unwrap();
        let state = self.daemon.home().path("state/keyfob");
        assert!(Command::new("cp").arg("-aT").arg(state).arg(copy.path()).status().unwrap().success());
        let sources = Sources::of_the_system(None);
        let store =
            Store::open(&Location::of(copy.path()), KeyChoice::File, sources, Clock::system()).unwrap();
        LOGINS.map(|name| {
            let record = store.load(&name.parse().unwrap()).unwrap().unwrap();
            record.tokens.refresh.unwrap().proof_key.unwrap().expose_pkcs8()[NUMBER].to_vec()
        })
    }
}

/// Where the store's key is, below a home: the one file that has it.
pub const KEY_FILE: &str = "state/keyfob/key";

fn config(issuers: [&FakeIssuer; 3]) -> String {
    let [secure, client, plain] = issuers.map(FakeIssuer::url);
    format!(
        "{HEAD}\n[accounts.prod]\nissuer = '{secure}'\nclient_id = 'cli'\ngrant = 'device_code'\n\
         scopes = ['all', 'offline']\ntls = {{ ca_file = '~/ca.pem' }}\n\
         [accounts.ci]\nissuer = '{client}'\nclient_id = 'ci'\ngrant = 'client_credentials'\n\
         client_secret = {{ env = 'CI_SECRET' }}\nclient_authentication = 'client_secret_post'\n\
         tls = {{ ca_file = '~/ca.pem' }}\n\
         [accounts.web]\nissuer = '{plain}'\nclient_id = 'cli'\ngrant = 'authorization_code'\n\
         scopes = ['all', 'offline', 'openid']\ntls = {{ allow_http_loopback = true }}\n"
    )
}

/// Returns the kinds of the secrets that are in some bytes.
pub fn kinds_in(bytes: &[u8], secrets: &[Marked]) -> Vec<&'static str> {
    let is_there = |secret: &&Marked| bytes.windows(secret.bytes.len()).any(|part| part == secret.bytes);
    secrets.iter().filter(is_there).map(|secret| secret.kind).collect()
}

/// Visits every file below a directory.
pub fn walk(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}
