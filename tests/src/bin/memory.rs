//! `cargo run --release -p integration-tests --bin memory`: counts the copies of secrets in the memory of a daemon while a
//! login is there, after it was ended, and after the daemon has been left alone, and says where they are.
//!
//! The issuer has TLS, so that buffers of TLS count as well. It ends with a failure where a refresh token, or its key, is in
//! memory after a logout.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "the figures go to standard output")]

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use integration_tests::browser::Browser;
use integration_tests::certificate::{Authority, Validity};
use integration_tests::config::HEAD;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::dpop::Dpop;
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::memory::{self, Found, Marked, Place};
use integration_tests::person;
use keyfob_daemon::clock::Clock;
use keyfob_daemon::store::key::KeyChoice;
use keyfob_daemon::store::{Location, Sources, Store};
use keyfob_protocol::login::LoginState;

/// What must not be there any more after a logout.
const GONE: [&str; 3] = ["refresh token", "spent refresh token", "DPoP key"];

const KINDS: [&str; 11] = [
    "refresh token",
    "spent refresh token",
    "DPoP key",
    "store key",
    "store key (hexadecimal)",
    "access token",
    "ID token",
    "client secret",
    "device code",
    "authorization code",
    "PKCE verifier",
];

const CLIENT_SECRET: &str = "CANARY-CS-0123456789abcdef";

fn main() -> ExitCode {
    let authority = Authority::new();
    let settings = || Settings {
        clients: vec![Client::public("cli"), Client::post("ci", CLIENT_SECRET)],
        access_lifetime: Duration::from_secs(60),
        dpop: Dpop { advertised: true, ..Dpop::default() },
        ..Settings::default()
    };
    let secure =
        FakeIssuer::start_with_tls(settings(), "127.0.0.1", authority.certify(&["127.0.0.1"], Validity::Now));
    let plain = FakeIssuer::start(settings());
    let home = Home::new().set("CI_SECRET", CLIENT_SECRET);
    home.write("ca.pem", &authority.pem(), 0o600);
    home.configure(&config(&secure, &plain));
    let daemon = Daemon::start_in(home);
    let (_, code) = daemon.begin_login("prod");
    person::approve(&secure.page(), &code);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    Browser::open().visit(&daemon.begin_visit("web"));
    assert_eq!(daemon.login_outcome("web"), LoginState::SignedIn, "{}", daemon.log());
    for account in ["prod", "web"] {
        daemon.renew(account);
    }
    daemon.token("ci");
    let secrets = secrets(&daemon, &secure, &plain);
    let signed_in = look(&daemon, &secrets);
    for account in ["prod", "web", "ci"] {
        daemon.api("DELETE", &format!("/v1/accounts/{account}/session"));
    }
    let logged_out = look(&daemon, &secrets);
    table(&[("signed in", &signed_in), ("after logout", &logged_out)]);
    let left: Vec<_> = GONE.into_iter().filter(|kind| memory::copies(&logged_out, kind) > 0).collect();
    for kind in &left {
        println!("LEFT: {kind}");
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn config(secure: &FakeIssuer, plain: &FakeIssuer) -> String {
    let (secure, plain) = (secure.url(), plain.url());
    format!(
        "{HEAD}\n[accounts.prod]\nissuer = '{secure}'\nclient_id = 'cli'\ngrant = 'device_code'\n\
         scopes = ['all', 'offline']\ntls = {{ ca_file = '~/ca.pem' }}\n\
         [accounts.ci]\nissuer = '{secure}'\nclient_id = 'ci'\ngrant = 'client_credentials'\n\
         client_secret = {{ env = 'CI_SECRET' }}\nclient_authentication = 'client_secret_post'\n\
         tls = {{ ca_file = '~/ca.pem' }}\n\
         [accounts.web]\nissuer = '{plain}'\nclient_id = 'cli'\ngrant = 'authorization_code'\n\
         scopes = ['all', 'offline', 'openid']\ntls = {{ allow_http_loopback = true }}\n"
    )
}

/// Returns every secret that the daemon has, or had.
fn secrets(daemon: &Daemon, secure: &FakeIssuer, plain: &FakeIssuer) -> Vec<Marked> {
    let mut secrets = vec![Marked::new("client secret", CLIENT_SECRET)];
    for ledger in [secure.ledger(), plain.ledger()] {
        for token in ledger.families.iter().flat_map(|family| &family.refresh_tokens) {
            let kind = if token.consumed.is_some() { "spent refresh token" } else { "refresh token" };
            secrets.push(Marked::new(kind, token.token.as_str()));
        }
        secrets.extend(
            ledger.access_tokens.iter().map(|token| Marked::new("access token", token.token.as_str())),
        );
        for request in &ledger.token_requests {
            for (name, kind) in [
                ("device_code", "device code"),
                ("code", "authorization code"),
                ("code_verifier", "PKCE verifier"),
            ] {
                secrets.extend(request.parameter(name).map(|secret| Marked::new(kind, secret)));
            }
        }
    }
    let id_token = daemon.token_with("web", "kind=id").access_token;
    secrets.push(Marked::new("ID token", id_token));
    let hex = fs::read_to_string(daemon.home().path("state/keyfob/key")).unwrap().trim().to_owned();
    let key = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    secrets.push(Marked::new("store key", key.collect::<Vec<_>>()));
    secrets.push(Marked::new("store key (hexadecimal)", hex));
    secrets.extend(proof_keys(daemon).into_iter().map(|key| Marked::new("DPoP key", key)));
    secrets.sort_by(|one, other| one.bytes.cmp(&other.bytes));
    secrets.dedup_by(|one, other| one.bytes == other.bytes);
    secrets
}

/// Returns the private numbers of the keys that refresh tokens are bound to, from a copy of the store.
fn proof_keys(daemon: &Daemon) -> Vec<Vec<u8>> {
    /// Where ring has the number in the PKCS#8 form of a P-256 key.
    const NUMBER: std::ops::Range<usize> = 36..68;
    let copy = daemon.home().path("copy");
    let copied = Command::new("cp").arg("-a").arg(daemon.home().path("state/keyfob")).arg(&copy).status();
    assert!(copied.unwrap().success());
    let location = Location::of(&copy);
    let sources = Sources::of_the_system(None);
    let store = Store::open(&location, KeyChoice::File, sources, Clock::system()).unwrap();
    let keys = ["prod", "web"].map(|name| {
        let record = store.load(&name.parse().unwrap()).unwrap().unwrap();
        record.tokens.refresh.unwrap().proof_key.unwrap().expose_pkcs8()[NUMBER].to_vec()
    });
    fs::remove_dir_all(copy).unwrap();
    keys.to_vec()
}

fn look(daemon: &Daemon, secrets: &[Marked]) -> Found {
    // What is done with answers after they have been sent is done by then.
    daemon.api("GET", "/v1/accounts");
    memory::search(daemon.process().id(), secrets)
}

/// Prints a row for each kind, with the copies by time and place.
fn table(looks: &[(&str, &Found)]) {
    let titles: Vec<_> = looks.iter().map(|(title, _)| *title).collect();
    println!("| copies in memory | {} |\n|---|{}", titles.join(" | "), "---|".repeat(looks.len()));
    for kind in KINDS {
        let cells: Vec<_> =
            looks.iter().map(|(_, found)| found.get(kind).map_or("0".to_owned(), told)).collect();
        println!("| {kind} | {} |", cells.join(" | "));
    }
}

fn told(places: &BTreeMap<Place, usize>) -> String {
    let told: Vec<_> = places
        .iter()
        .map(|(place, count)| {
            let name = match place {
                Place::Locked => "locked",
                Place::Heap => "heap",
                Place::Stack => "stack",
                Place::Elsewhere => "elsewhere",
            };
            format!("{count} {name}")
        })
        .collect();
    told.join(", ")
}
