//! Certificates and proxies: what an account's settings say holds for all that it asks for, and what is wrong has a
//! sentence with the remedy.

use std::time::Duration;

use integration_tests::certificate::{Authority, Identity, Validity};
use integration_tests::config::HEAD;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::person;
use integration_tests::proxy::{Asked, Dialect, FakeProxy, Mood};
use integration_tests::raw_server::RawServer;
use integration_tests::signing_key::SigningKey;
use keyfob_protocol::account::AccountState;
use keyfob_protocol::error::Exit;
use keyfob_protocol::login::LoginState;

/// A name that only a proxy of the stories resolves.
const HIDDEN: &str = "login.hidden.test";

/// The user name and password of a proxy, for a leak scan to find.
const USER: &str = "CANARY-user";
const PASSWORD: &str = "CANARY-password";

#[test]
fn a_ca_file_counts_for_discovery_login_renewal_and_revocation_alike() {
    let authority = Authority::new();
    let issuer = issuer("127.0.0.1", authority.certify(&["127.0.0.1"], Validity::Now));
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    home.configure(&person_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    let daemon = Daemon::start_in(home);
    log_in(&daemon, &issuer);
    let token = daemon.renew("prod").access_token;
    assert!(issuer.honours(&token));
    assert_eq!(daemon.account("prod").warnings, [""; 0]);
    let output = daemon.shim(&["logout"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(!issuer.honours(&token), "the token was not revoked");
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn an_assertion_is_signed_by_the_clock_of_an_issuer_that_certifies_it_7523_1() {
    let (key, authority) = (SigningKey::generate(), Authority::new());
    let settings = Settings {
        clients: vec![Client::private_key("ci", &key.public)],
        clock_ahead: Duration::from_secs(3600),
        ..Settings::default()
    };
    let identity = authority.certify(&["127.0.0.1"], Validity::Now);
    let issuer = FakeIssuer::start_with_tls(settings, "127.0.0.1", identity);
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    home.write("key.pem", &key.pem, 0o600);
    home.configure(&format!(
        "{HEAD}\n[accounts.prod]\nissuer = '{}'\nclient_id = 'ci'\ngrant = 'client_credentials'\n\
         private_key = {{ file = '~/key.pem' }}\ntls = {{ ca_file = '~/ca.pem' }}\n",
        issuer.url()
    ));
    let daemon = Daemon::start_in(home);
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert_eq!(issuer.ledger().violations, [""; 0]);
    assert_eq!(issuer.ledger().token_requests.len(), 1);
}

#[test]
fn a_ca_file_stands_beside_the_authorities_of_the_system() {
    let (public, own) = (Authority::new(), Authority::new());
    let issuer = issuer("127.0.0.1", public.certify(&["127.0.0.1"], Validity::Now));
    let home = Home::new();
    let system = home.write("system.pem", &public.pem(), 0o600);
    home.write("ca.pem", &own.pem(), 0o600);
    let home = home.set("SSL_CERT_FILE", system.to_str().unwrap());
    home.configure(&client_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    let daemon = Daemon::start_in(home);
    assert!(issuer.honours(&daemon.token("prod").access_token));
    issuer.show(own.certify(&["127.0.0.1"], Validity::Now));
    assert!(issuer.honours(&daemon.renew("prod").access_token));
}

#[test]
fn each_certificate_that_is_not_believed_has_its_sentence_i9() {
    let authority = Authority::new();
    let here = &["127.0.0.1"][..];
    for (identity, believed, sentences) in [
        (
            authority.certify(here, Validity::Now),
            false,
            &["an unknown CA", "set tls = { ca_file = \"..\" } to the certificate of the CA that signed it"]
                [..],
        ),
        (Identity::self_signed(here), false, &["self-signed", "set tls = { ca_file = \"..\" }"]),
        (
            authority.certify(here, Validity::Past),
            true,
            &["expired at 2019-12-31T00:00:00Z, and it is 20", "its owner must renew it", "clock"],
        ),
        (
            authority.certify(&["elsewhere.example.com"], Validity::Now),
            true,
            &["for another name: check the address", "it is for elsewhere.example.com"],
        ),
    ] {
        let issuer = issuer("127.0.0.1", identity);
        let home = Home::new();
        home.write("ca.pem", &authority.pem(), 0o600);
        let lines = if believed { "tls = { ca_file = '~/ca.pem' }" } else { "" };
        home.configure(&client_with(&issuer, lines));
        let daemon = Daemon::start_in(home);
        let host = issuer.url().strip_prefix("https://").unwrap();
        let unsent = format!("{host} could not be reached:");
        let all: Vec<_> = [unsent.as_str()].iter().chain(sentences).copied().collect();
        assert_trouble(&daemon, &all, Exit::Unavailable);
        assert_eq!(issuer.ledger().metadata_requests, 0);
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    let issuer = FakeIssuer::start(settings());
    let config = client_with(&issuer, "").replace("http://", "https://");
    assert_trouble(&Daemon::start(&config), &["does not speak TLS on this port"], Exit::Unavailable);
}

#[test]
fn a_certificate_that_is_not_believed_any_more_costs_no_login_i9() {
    let authority = Authority::new();
    let good = authority.certify(&["127.0.0.1"], Validity::Now);
    let issuer = issuer("127.0.0.1", good.clone());
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    home.configure(&person_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    let daemon = Daemon::start_in(home);
    log_in(&daemon, &issuer);
    let token = daemon.token("prod").access_token;
    for (bad, sentence) in [
        (authority.certify(&["127.0.0.1"], Validity::Past), "certificate expired"),
        (authority.certify(&["elsewhere.example.com"], Validity::Now), "certificate is for another name"),
        // The authority, made anew under its name.
        (Authority::new().certify(&["127.0.0.1"], Validity::Now), "of an unknown CA"),
    ] {
        issuer.show(bad);
        eventually(SOON, "a renewal fails", || {
            assert_eq!(daemon.token_with("prod", MORE_LIFE).access_token, token);
            daemon.account("prod").last_error.is_some_and(|last| last.error.message.contains(sentence))
        });
        assert_eq!(daemon.account("prod").state, AccountState::SignedIn);
    }
    issuer.show(good);
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    assert_eq!(issuer.ledger().families.len(), 1);
    assert!(issuer.ledger().replayed().is_empty());
}

/// A server's hello in TLS 1.1 (RFC 4346 §7.4.1.3), with a cipher suite that everybody had.
const HELLO_OF_TLS_1_1: [u8; 47] = [
    // A handshake record of 42 bytes, and in it a hello of 38.
    0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, //
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 32, //
    0, 0, 0x2f, 0,
];

#[test]
fn a_server_that_knows_no_tls_newer_than_1_1_is_sent_nothing_i9() {
    let server = RawServer::start(&HELLO_OF_TLS_1_1, b"");
    for lines in ["", "tls = { insecure_skip_verify = true }"] {
        let config = format!(
            "{HEAD}\n[accounts.prod]\nissuer = 'https://{}'\nclient_id = 'ci'\ngrant = 'client_credentials'\n\
             client_secret = {{ command = ['echo', 'CANARY-CS'] }}\n{lines}\n",
            server.address()
        );
        assert_trouble(&Daemon::start(&config), &["could not be reached", "TLS 1.2"], Exit::Unavailable);
    }
    assert!(server.connections() > 0);
}

#[test]
fn no_variable_makes_the_daemon_write_down_the_keys_of_its_connections_i9() {
    let authority = Authority::new();
    let issuer = issuer("127.0.0.1", authority.certify(&["127.0.0.1"], Validity::Now));
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    home.configure(&client_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    let keys = home.path("keys");
    let daemon = Daemon::start_in(home.set("SSLKEYLOGFILE", &keys.to_string_lossy()));
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert!(!keys.exists());
}

#[test]
fn whoever_believes_every_certificate_is_warned_in_status() {
    let issuer = issuer("127.0.0.1", Identity::self_signed(&["elsewhere.example.com"]));
    let daemon = Daemon::start(&client_with(&issuer, "tls = { insecure_skip_verify = true }"));
    assert!(issuer.honours(&daemon.token("prod").access_token));
    let status = daemon.shim(&["status"]).stdout;
    assert!(status.contains("certificates are not checked (tls.insecure_skip_verify)"), "{status}");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_a_mistake_until_it_is_there() {
    let authority = Authority::new();
    let issuer = issuer("127.0.0.1", authority.certify(&["127.0.0.1"], Validity::Now));
    let home = Home::new();
    home.configure(&client_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    let daemon = Daemon::start_in(home);
    let path = daemon.home().path("ca.pem");
    let path = path.to_str().unwrap();
    assert_trouble(&daemon, &[path, "No such file", "run: keyfob reload"], Exit::Configuration);
    let broken = authority.pem().replace("MII", "***");
    for (contents, sentence) in
        [("", "no PEM certificate"), ("what?", "no PEM certificate"), (&broken, "PEM")]
    {
        daemon.home().write("ca.pem", contents, 0o600);
        assert_eq!(daemon.reload().status, 200);
        assert_trouble(&daemon, &[path, sentence, "run: keyfob reload"], Exit::Configuration);
    }
    daemon.home().write("ca.pem", &authority.pem(), 0o600);
    assert_eq!(daemon.reload().status, 200);
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn a_system_without_authorities_hinders_only_the_accounts_that_need_them() {
    let authority = Authority::new();
    let issuer = issuer("127.0.0.1", authority.certify(&["127.0.0.1"], Validity::Now));
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    let system = home.write("system.pem", "", 0o600);
    let home = home.set("SSL_CERT_FILE", system.to_str().unwrap());
    home.configure(&client_with(&issuer, ""));
    let daemon = Daemon::start_in(home);
    assert_trouble(&daemon, &["install its ca-certificates, or set tls.ca_file"], Exit::Configuration);
    daemon.home().configure(&client_with(&issuer, "tls = { ca_file = '~/ca.pem' }"));
    assert_eq!(daemon.reload().status, 200);
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn a_proxy_stands_before_all_that_an_account_asks_for() {
    for (dialect, scheme) in [(Dialect::Http, "http"), (Dialect::Socks, "socks5h")] {
        let authority = Authority::new();
        let issuer = issuer(HIDDEN, authority.certify(&[HIDDEN], Validity::Now));
        let proxy = FakeProxy::start(dialect, Mood::Helpful);
        let home = Home::new();
        home.write("ca.pem", &authority.pem(), 0o600);
        let lines =
            format!("tls = {{ ca_file = '~/ca.pem' }}\nhttp_proxy = '{scheme}://{}'", proxy.address());
        home.configure(&person_with(&issuer, &lines));
        let daemon = Daemon::start_in(home);
        log_in(&daemon, &issuer);
        let token = daemon.token("prod").access_token;
        daemon.shim(&["logout"]);
        assert!(!issuer.honours(&token), "the token was not revoked");
        // Metadata, device authorization, one poll or more, revocation.
        let asked = proxy.asked();
        assert!(asked.len() >= 4, "{asked:?}");
        let target = issuer.url().strip_prefix("https://").unwrap().to_owned();
        assert!(
            asked.iter().all(|asked| *asked == Asked { target: target.clone(), credentials: None }),
            "{asked:?}"
        );
    }
}

#[test]
fn with_socks5_names_are_resolved_here() {
    let authority = Authority::new();
    let issuer = issuer("localhost", authority.certify(&["localhost"], Validity::Now));
    let proxy = FakeProxy::start(Dialect::Socks, Mood::Helpful);
    let daemon = behind(&issuer, &authority, &format!("socks5://{}", proxy.address()));
    assert!(issuer.honours(&daemon.token("prod").access_token));
    let targets: Vec<_> = proxy.asked().into_iter().map(|asked| asked.target).collect();
    assert!(!targets.is_empty() && targets.iter().all(|target| !target.contains("localhost")), "{targets:?}");
}

#[test]
fn plain_http_to_loopback_goes_through_no_proxy() {
    let issuer = FakeIssuer::start(settings());
    let proxy = FakeProxy::start(Dialect::Http, Mood::Helpful);
    let lines = format!("tls = {{ allow_http_loopback = true }}\nhttp_proxy = 'http://{}'", proxy.address());
    let daemon = Daemon::start(&client_with(&issuer, &lines));
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert_eq!(proxy.asked(), []);
}

#[test]
fn the_credentials_of_a_proxy_get_to_the_proxy_and_nowhere_else() {
    for (dialect, scheme) in [(Dialect::Http, "http"), (Dialect::Socks, "socks5h")] {
        let authority = Authority::new();
        let issuer = issuer(HIDDEN, authority.certify(&[HIDDEN], Validity::Now));
        let proxy = FakeProxy::start(dialect, Mood::Wary(USER, PASSWORD));
        let daemon =
            behind(&issuer, &authority, &format!("{scheme}://{USER}:{PASSWORD}@{}", proxy.address()));
        assert!(issuer.honours(&daemon.token("prod").access_token));
        let credentials = Some(format!("{USER}:{PASSWORD}"));
        assert!(proxy.asked().iter().all(|asked| asked.credentials == credentials), "{:?}", proxy.asked());
        // One that does not take them.
        let other = FakeProxy::start(dialect, Mood::Wary(USER, "another"));
        let config = std::fs::read_to_string(daemon.home().config()).unwrap();
        daemon.home().configure(&config.replace(proxy.address(), other.address()));
        assert_eq!(daemon.reload().status, 200);
        eventually(SOON, "a renewal fails", || {
            daemon.token_with("prod", MORE_LIFE);
            daemon.account("prod").last_error.is_some_and(|last| last.error.message.contains(other.address()))
        });
        let (list, status) = (daemon.api("GET", "/v1/accounts").body, daemon.shim(&["status"]).stdout);
        for text in [daemon.log(), list, status] {
            assert!(!text.contains(USER) && !text.contains(PASSWORD), "{text}");
        }
    }
}

#[test]
fn each_proxy_that_does_not_connect_us_has_its_sentence() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let http = |mood| FakeProxy::start(Dialect::Http, mood);
    let socks = |mood| FakeProxy::start(Dialect::Socks, mood);
    let (wary, refusing, silent) =
        (http(Mood::Wary(USER, PASSWORD)), http(Mood::Refusing), http(Mood::Silent));
    let without_tls = FakeIssuer::start(settings());
    let (wary_socks, refusing_socks) = (socks(Mood::Wary(USER, PASSWORD)), socks(Mood::Refusing));
    for (proxy, sentences) in [
        (format!("http://{dead}"), &["could not be reached (Connection refused", "check http_proxy"][..]),
        (format!("socks5h://{dead}"), &["could not be reached (Connection refused", "check http_proxy"]),
        ("http://proxy.invalid:3128".to_owned(), &["could not be reached (", "check http_proxy"]),
        (format!("http://{}", silent.address()), &["no connection within 5s", "check http_proxy"]),
        (format!("http://{}", wary.address()), &["wants a user name and a password"]),
        (
            format!("http://x:y@{}", wary.address()),
            &["does not accept the user name and password in http_proxy"],
        ),
        (format!("http://{}", refusing.address()), &["refuses to connect us there", "change http_proxy"]),
        (
            format!("socks5h://x:y@{}", wary_socks.address()),
            &["credentials not accepted", "check http_proxy"],
        ),
        (
            format!("socks5h://{}", refusing_socks.address()),
            &["did not connect us there", "check http_proxy"],
        ),
        (without_tls.url().replace("http://", "https://"), &["does not speak TLS", "check http_proxy"]),
    ] {
        let authority = Authority::new();
        let issuer = issuer(HIDDEN, authority.certify(&[HIDDEN], Validity::Now));
        let daemon = behind(&issuer, &authority, &proxy);
        let (scheme, rest) = proxy.split_once("://").unwrap();
        let shown = format!("{scheme}://{}", rest.split_once('@').map_or(rest, |(_, address)| address));
        let host = issuer.url().strip_prefix("https://").unwrap();
        let unsent = format!("{host} could not be reached:");
        let all: Vec<_> = [unsent.as_str(), &shown].iter().chain(sentences).copied().collect();
        assert_trouble(&daemon, &all, Exit::Unavailable);
        assert_eq!(issuer.ledger().metadata_requests, 0, "it went past {proxy}");
    }
}

#[test]
fn the_environment_is_asked_for_a_proxy_only_where_the_account_says_so() {
    let authority = Authority::new();
    for (lines, exception, is_used) in [
        ("", "", false),
        ("http_proxy = 'environment'", "", true),
        ("http_proxy = 'environment'", "10.0.0.0/8, localhost", false),
    ] {
        let issuer = issuer("localhost", authority.certify(&["localhost"], Validity::Now));
        let proxy = FakeProxy::start(Dialect::Http, Mood::Helpful);
        let home =
            Home::new().set("https_proxy", &format!("http://{}", proxy.address())).set("NO_PROXY", exception);
        home.write("ca.pem", &authority.pem(), 0o600);
        home.configure(&client_with(&issuer, &format!("tls = {{ ca_file = '~/ca.pem' }}\n{lines}")));
        let daemon = Daemon::start_in(home);
        assert!(issuer.honours(&daemon.token("prod").access_token));
        assert_eq!(!proxy.asked().is_empty(), is_used, "{lines} NO_PROXY={exception}");
    }
}

#[test]
fn a_dead_proxy_of_the_environment_is_named_by_its_variable() {
    let authority = Authority::new();
    let issuer = issuer(HIDDEN, authority.certify(&[HIDDEN], Validity::Now));
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new().set("ALL_PROXY", &format!("socks5h://{USER}:{PASSWORD}@{dead}"));
    home.configure(&client_with(&issuer, "http_proxy = 'environment'"));
    let daemon = Daemon::start_in(home);
    let proxy = format!("the proxy socks5h://{dead} could not be reached");
    assert_trouble(&daemon, &[&proxy, "check ALL_PROXY in the environment of keyfobd"], Exit::Unavailable);
}

/// Returns the settings of an issuer with a client for each kind of account.
fn settings() -> Settings {
    let clients = vec![Client::public("cli"), Client::basic("ci", "CANARY-CS")];
    Settings { clients, access_lifetime: Duration::from_secs(60), ..Settings::default() }
}

fn issuer(host: &str, identity: Identity) -> FakeIssuer {
    FakeIssuer::start_with_tls(settings(), host, identity)
}

/// Returns a configuration in which a person logs in.
fn person_with(issuer: &FakeIssuer, lines: &str) -> String {
    let account = "client_id = 'cli'\ngrant = 'device_code'\nscopes = ['all', 'offline']";
    format!("{HEAD}\n[accounts.prod]\nissuer = '{}'\n{account}\n{lines}\n", issuer.url())
}

/// Returns a configuration in which nobody needs to.
fn client_with(issuer: &FakeIssuer, lines: &str) -> String {
    let account =
        "client_id = 'ci'\ngrant = 'client_credentials'\nclient_secret = { command = ['echo', 'CANARY-CS'] }";
    format!("{HEAD}\n[accounts.prod]\nissuer = '{}'\n{account}\n{lines}\n", issuer.url())
}

/// Starts a daemon whose account is behind a proxy.
fn behind(issuer: &FakeIssuer, authority: &Authority, proxy: &str) -> Daemon {
    let home = Home::new();
    home.write("ca.pem", &authority.pem(), 0o600);
    let lines = format!("tls = {{ ca_file = '~/ca.pem' }}\nhttp_proxy = '{proxy}'");
    home.configure(&client_with(issuer, &lines));
    Daemon::start_in(home)
}

fn log_in(daemon: &Daemon, issuer: &FakeIssuer) {
    let (_, code) = daemon.begin_login("prod");
    person::approve(&issuer.page(), &code);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
}

/// Waits for a token in vain, and for all of these sentences in status.
fn assert_trouble(daemon: &Daemon, sentences: &[&str], exit: Exit) {
    let output = daemon.shim(&["token"]);
    assert_eq!((output.status, output.stdout.as_str()), (exit as i32, ""), "{output:?}");
    let status = daemon.shim(&["status"]).stdout;
    let words = status.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in sentences {
        assert!(words.contains(sentence), "no {sentence:?} in {status}\n{}", output.stderr);
    }
}
