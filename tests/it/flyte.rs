//! An account that names a Flyte endpoint and nothing else: it says the rest, by gRPC and by Connect, from stubs that
//! flyteidl and flyteidl2 bring along.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use integration_tests::daemon::Daemon;
use integration_tests::flyte_admin::FlyteAdmin;
use integration_tests::flyte2_backend::Flyte2Backend;
use integration_tests::flytekit::Flytekit;
use integration_tests::home::Home;
use integration_tests::oidc_provider::{self, OidcProvider};
use integration_tests::patience::{eventually, found};
use integration_tests::resource_server::ResourceServer;
use keyfob_protocol::daemon::{LogoutReport, Revocation};
use keyfob_protocol::login::LoginState;

/// The shortest lifetime that keyfob renews ahead of: at half of it.
const LIFETIME: Duration = Duration::from_secs(20);

/// The issuer of these stories is on loopback.
const LOOPBACK: &str = "tls = { allow_http_loopback = true }";

#[test]
fn a_person_logs_in_with_nothing_but_the_address_of_flyte() {
    let issuer = OidcProvider::start(LIFETIME);
    let admin = FlyteAdmin::start_with_header(&issuer, "flyte-authorization");
    let config = account("prod", "device_code", &plain(&admin));
    let daemon = Daemon::start(&format!("[store]\nkey = 'file'\n{config}"));
    let (page, code) = daemon.begin_login("prod");
    oidc_provider::log_in(&page, &code);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    let token = daemon.token("prod");
    assert!(issuer.honours(&token.access_token));
    assert_eq!(token.header.name, "flyte-authorization");
    eventually(LIFETIME * 3, "a renewal", || issuer.rotations() >= 1);
    assert_eq!(admin.discoveries(), 1);
    let warnings = daemon.account("prod").warnings;
    assert!(warnings.iter().any(|warning| warning.contains("without TLS")), "{warnings:?}");
}

#[test]
fn accounts_share_one_discovery_and_outlive_the_endpoint_that_gave_it() {
    let issuer = OidcProvider::start(LIFETIME);
    let admin = FlyteAdmin::start(&issuer);
    let home = Home::new();
    let clients: String = ["one", "other"].map(|name| client(&home, &issuer, name, &plain(&admin))).concat();
    home.configure(&format!("[store]\nkey = 'file'\n{clients}"));
    let mut daemon = Daemon::start_in(home);
    for name in ["one", "other"] {
        let token = daemon.token(name);
        assert!(issuer.honours(&token.access_token));
        assert_eq!(token.header.name, "authorization");
    }
    assert_eq!(admin.discoveries(), 1);

    drop(admin);
    renews(&daemon, "one");
    daemon.restart();
    let token = renews(&daemon, "other");
    assert!(issuer.honours(&token));
}

#[test]
fn a_flyte_2_says_it_by_connect_to_who_believes_its_authority() {
    let issuer = OidcProvider::start(LIFETIME);
    let backend = Flyte2Backend::start(&issuer);
    says_it_to_who_believes_its_authority(&issuer, &backend, backend.authority());
}

#[test]
fn a_flyte_admin_behind_tls_says_it_by_grpc_to_who_believes_its_authority() {
    let issuer = OidcProvider::start(LIFETIME);
    // It has no other way than gRPC.
    let admin = FlyteAdmin::start_with_tls(&issuer);
    says_it_to_who_believes_its_authority(&issuer, &admin, admin.authority());
}

#[track_caller]
fn says_it_to_who_believes_its_authority(issuer: &OidcProvider, server: &ResourceServer, authority: &Path) {
    let home = Home::new();
    let with = client(&home, issuer, "with", &with_tls(server, Some(authority)));
    let without = client(&home, issuer, "without", &with_tls(server, None));
    home.configure(&format!("[store]\nkey = 'file'\n{with}{without}"));
    let daemon = Daemon::start_in(home);
    assert!(issuer.honours(&daemon.token("with").access_token));
    let output = daemon.shim(&["token", "without"]);
    assert_eq!(output.status, 4, "{output:?}");
    assert!(output.stderr.contains("tls = { ca_file"), "{output:?}");
    assert_eq!(server.discoveries(), 1);
}

#[test]
fn a_person_logs_in_in_a_browser_with_nothing_but_the_address_of_flyte() {
    let issuer = OidcProvider::start(LIFETIME);
    let admin = FlyteAdmin::start_for_browsers(&issuer, "flyte-authorization");
    let config = account("prod", "authorization_code", &plain(&admin));
    let daemon = Daemon::start(&format!("[store]\nkey = 'file'\n{config}"));
    let shown = oidc_provider::log_in(&daemon.begin_visit("prod"), "");
    assert!(shown.html.contains("You are signed in"), "{}", shown.html);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    let token = daemon.token("prod");
    assert!(issuer.honours(&token.access_token));
    assert_eq!(token.header.name, "flyte-authorization");

    let flytekit = Flytekit::start(daemon.home(), &admin, "prod", 1);
    eventually(LIFETIME * 3, "calls with a token and its successor", || admin.good_tokens().len() >= 2);
    assert_eq!(flytekit.stop().failures, [""; 0]);
    assert!(issuer.rotations() >= 1);
    assert_eq!(issuer.tokens_given("authorization_code"), 1, "one login did for all");
    assert_eq!(issuer.tokens_given_for_repetition(), 1, "as flyteadmin's own issuer wants it");
    assert_eq!(issuer.refusals("invalid_grant"), 0);

    // Flyte has no word for where tokens are revoked.
    let latest = daemon.token("prod").access_token;
    let report: LogoutReport = daemon.api("DELETE", "/v1/accounts/prod/session").json();
    assert_eq!(report.revocation, Revocation::Revoked, "{report:?}");
    assert!(!issuer.honours(&latest));
}

#[test]
fn an_address_that_is_no_flyte_endpoint_gets_a_sentence_that_says_what_each_way_said() {
    let issuer = OidcProvider::start(LIFETIME);
    let address = console();
    let settings = format!("flyte = '{address}'\ninsecure = true\n{LOOPBACK}");
    let home = Home::new();
    home.configure(&format!("[store]\nkey = 'file'\n{}", client(&home, &issuer, "prod", &settings)));
    let daemon = Daemon::start_in(home);
    let output = daemon.shim(&["token"]);
    assert_ne!(output.status, 0);
    assert!(output.stderr.contains(&format!("{address} does not say how to log in (gRPC: ")), "{output:?}");
    assert!(output.stderr.contains("a console's address"), "{output:?}");
}

/// Starts a server that has a page for people and nothing else, and returns its address. It ends with the process.
fn console() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let page = "<!doctype html><title>Flyte</title>";
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            // Whoever asks may be gone.
            if stream.read(&mut [0; 4096]).is_ok() {
                drop(stream.write_all(answer.as_bytes()));
            }
        }
    });
    address
}

/// Waits until an account has another token than now, and returns it.
fn renews(daemon: &Daemon, account: &str) -> String {
    let before = daemon.token(account).access_token;
    found(LIFETIME * 3, "a renewal", || {
        let token = daemon.token(account).access_token;
        (token != before).then_some(token)
    })
}

fn plain(admin: &FlyteAdmin) -> String {
    format!("flyte = 'dns:///{}'\ninsecure = true\n{LOOPBACK}", admin.endpoint())
}

fn with_tls(server: &ResourceServer, authority: Option<&Path>) -> String {
    let authority = authority.map(|file| format!(", ca_file = '{}'", file.display())).unwrap_or_default();
    format!("flyte = 'dns:///{}'\ntls = {{ allow_http_loopback = true{authority} }}", server.endpoint())
}

fn account(name: &str, grant: &str, settings: &str) -> String {
    format!("[accounts.{name}]\ngrant = '{grant}'\n{settings}\n")
}

/// Returns an account with a client of its own, which the endpoint does not know.
fn client(home: &Home, issuer: &OidcProvider, name: &str, settings: &str) -> String {
    let client = issuer.basic_client();
    let secret = home.write("secret", &client.secret, 0o600);
    let more = format!(
        "client_id = '{}'\nscopes = ['all']\nclient_secret = {{ file = '{}' }}",
        client.id,
        secret.display()
    );
    account(name, "client_credentials", &format!("{settings}\n{more}"))
}
