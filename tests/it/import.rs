//! A session that another client keeps is taken over, wherever that client keeps it.
//!
//! The keyring is a real one; the sessions in it are written as each client writes them.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http::{self, Request};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::keyring::Keyring;
use integration_tests::patience::{SOON, eventually};
use keyfob_protocol::account::AccountState;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::import::{ForeignClient, ForeignSessions};

/// A client that uses keyfob already.
const YAML: &str = "admin:\n  endpoint: dns:///HOST\n  insecure: true\n  authType: ExternalCommand\n  \
                    command: [keyfob, token, flyte]\n  disableKeyring: true\n";

/// Where each client keeps a session with HOST, and what it writes there for a refresh token.
const LAYOUTS: [(ForeignClient, &str, &str, &str); 3] = [
    (ForeignClient::Flytekit, "HOST", "refresh_token", "REFRESH"),
    (ForeignClient::Flyte, "HOST", "tokens", r#"{"access_token": "CANARY", "refresh_token": "REFRESH"}"#),
    (
        ForeignClient::Flytectl,
        "flytectl",
        "dns:///HOST:flytectl-user",
        r#"{"access_token":"CANARY","token_type":"Bearer","refresh_token":"REFRESH","expiry":"2026-01-01T00:00:00Z"}"#,
    ),
];

#[test]
fn a_session_in_the_keyring_is_taken_over_in_each_layout_and_then_deleted_there() {
    for (client, service, user, written) in LAYOUTS {
        let issuer = FakeIssuer::start(Settings::default());
        let keyring = Keyring::unlocked();
        let refresh = session(&issuer);
        keep(&keyring, &issuer, (service, user), &written.replace("REFRESH", &refresh));
        let daemon = daemon(&issuer, Some(&keyring));

        let listed = sessions(&daemon, &issuer);
        assert_eq!(listed.sessions.len(), 1, "{listed:?}");
        assert_eq!((listed.sessions[0].client, listed.sessions[0].is_renewable), (client, true));
        let output = daemon.shim(&["setup", "flyte", "--import"]);
        assert!(output.stdout.contains("flyte is signed in with the session"), "{client:?}: {output:?}");
        daemon.token("flyte");
        eventually(SOON, "the donor's copy is gone", || keyring.secrets() == 0);

        let ledger = issuer.ledger();
        assert_eq!(ledger.families.len(), 1, "somebody had to sign in");
        assert_eq!(ledger.violations, [""; 0]);
        let shown = [output.stdout, output.stderr, daemon.log()].concat();
        assert!(!shown.contains("CANARY") && !shown.contains(&refresh), "{shown}");
    }
}

#[test]
fn a_session_in_a_plain_file_is_taken_over_and_the_rest_of_the_file_stays() {
    let encoded = |text: &str| STANDARD.encode(text);
    for (below, section, key) in [
        (".flyte/keyring.cfg", "HOST", "tokens"),
        (".union/keyring.cfg", "HOST", "refresh_token"),
        (".local/share/python_keyring/keyring_pass.cfg", "ESCAPED", "refresh_5ftoken"),
    ] {
        let issuer = FakeIssuer::start(Settings::default());
        let escaped = host(&issuer).replace('.', "_2E").replace(':', "_3A");
        let section = section.replace("HOST", host(&issuer)).replace("ESCAPED", &escaped);
        let refresh = session(&issuer);
        let secret = if key == "tokens" { format!("{{\"refresh_token\": \"{refresh}\"}}") } else { refresh };
        let value = encoded(&secret);
        let (first, rest) = value.split_at(20);
        let before = format!("[other]\nkey = eA==\n\t\n\n[{section}]\n");
        let text = format!("{before}{key} = {first}\n\t{rest}\n\t\n\n");
        let daemon = daemon(&issuer, None);
        let file = daemon.home().path(below);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        daemon.home().write(below, &text, 0o600);

        let output = daemon.shim(&["setup", "flyte", "--import"]);
        assert!(output.stdout.contains("flyte is signed in with the session"), "{below}: {output:?}");
        daemon.token("flyte");
        eventually(SOON, "the donor's copy is gone", || {
            fs::read_to_string(&file).unwrap() == format!("{before}\n")
        });
    }
}

#[test]
fn another_session_stays_and_is_named_and_can_be_taken_over_in_its_turn() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let [other, latest] = [session(&issuer), session(&issuer)];
    assert_ne!(other, latest);
    // The latest is there twice.
    for ((_, service, user, written), refresh) in LAYOUTS.into_iter().rev().zip([&other, &latest, &latest]) {
        keep(&keyring, &issuer, (service, user), &written.replace("REFRESH", refresh));
    }
    let daemon = daemon(&issuer, Some(&keyring));
    let next: Vec<bool> = sessions(&daemon, &issuer).sessions.iter().map(|session| session.is_next).collect();
    assert_eq!(next, [true, true, false]);
    let output = daemon.shim(&["setup", "flyte", "--import"]);
    assert!(output.stdout.contains("flyte is signed in with the session"), "{output:?}");
    assert!(output.stdout.contains("note: flytectl has a session in the keyring"), "{output:?}");
    assert!(!output.stdout.contains("flytekit has a session"), "{output:?}");
    eventually(SOON, "the copies are gone", || keyring.secrets() == 1);

    let output = daemon.shim(&["setup", "flyte", "--import"]);
    assert!(output.stdout.contains("flyte is signed in with the session"), "{output:?}");
    eventually(SOON, "the other one is gone", || keyring.secrets() == 0);
    daemon.token("flyte");
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn a_session_that_the_issuer_refuses_stays_where_it_is() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    let refresh = session(&issuer);
    keep(&keyring, &issuer, ("HOST", "refresh_token"), &refresh);
    issuer.end_all_logins();
    let daemon = daemon(&issuer, Some(&keyring));
    let output = daemon.shim(&["setup", "flyte", "--import"]);
    assert_eq!(output.status, 0, "the setup itself is made: {output:?}");
    assert!(output.stdout.contains("no session was taken over"), "{output:?}");
    assert_eq!(daemon.account("flyte").state, AccountState::SignedOut);
    assert_eq!(keyring.secrets(), 1);
}

#[test]
fn a_session_that_came_to_nothing_durable_stays_where_it_is() {
    let issuer = FakeIssuer::start(Settings::default());
    let refresh = session(&issuer);
    let daemon = daemon(&issuer, None);
    let text = format!("[{}]\nrefresh_token = {}\n\n", host(&issuer), STANDARD.encode(refresh));
    let file = daemon.home().write(".flyte/keyring.cfg", &text, 0o600);
    let in_the_way = daemon.home().path("state/keyfob/accounts/.flyte.sealed.tmp/full");
    fs::create_dir_all(&in_the_way).unwrap();

    daemon.shim(&["setup", "flyte", "--import"]);
    daemon.token("flyte");
    eventually(SOON, "the daemon says that it deletes nothing", || daemon.log().contains("is not on disk"));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_session_that_is_being_taken_over_survives_a_crash_once_the_answer_is_here() {
    for step in ["K6", "K7", "K8", "K9", "K10", "K11"] {
        let (issuer, mut daemon) = killed_in_mid_import(step);
        daemon.start_again();
        let token = daemon.token("flyte").access_token;
        assert!(issuer.honours(&token), "{step}: {}", daemon.log());
        let ledger = issuer.ledger();
        assert_eq!((ledger.families.len(), ledger.requests("refresh_token").len()), (1, 1), "{step}");
        assert_eq!(ledger.violations, [""; 0], "{step}");
        // What a logout hands back is what the daemon holds.
        let live = ledger.families[0].live().unwrap().token.clone();
        daemon.api("DELETE", "/v1/accounts/flyte/session");
        assert!(issuer.ledger().revoked.contains(&live), "{step}: it holds another refresh token");
    }
}

#[test]
fn a_session_whose_answer_died_with_the_daemon_is_said_to_be_lost_and_not_presented_again() {
    for step in ["K4", "K5"] {
        let (issuer, mut daemon) = killed_in_mid_import(step);
        daemon.start_again();
        eventually(SOON, "the daemon says that an import was lost", || {
            daemon.log().contains("import it again, or log in")
        });
        daemon.restart();
        assert_eq!(daemon.account("flyte").state, AccountState::SignedOut);
        assert_eq!(issuer.ledger().requests("refresh_token").len(), 1, "{step}");
    }
}

#[test]
fn sessions_that_shadow_the_command_are_named_and_left_alone() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    for (_, service, user, written) in LAYOUTS {
        keep(&keyring, &issuer, (service, user), written);
    }
    let daemon = daemon(&issuer, Some(&keyring));
    let output = daemon.shim(&["setup", "flyte"]);
    assert!(output.stdout.contains("flytectl has a session in the keyring"), "{output:?}");
    assert!(output.stdout.contains("keyfob setup flyte --import"), "{output:?}");
    assert!(!output.stdout.contains("CANARY") && !output.stdout.contains("REFRESH"), "{output:?}");
    assert_eq!(keyring.secrets(), LAYOUTS.len());
    assert_eq!(issuer.ledger().token_requests.len(), 0);
}

#[test]
fn a_locked_keyring_stays_locked_and_a_missing_one_holds_up_nothing() {
    let issuer = FakeIssuer::start(Settings::default());
    let keyring = Keyring::unlocked();
    keep(&keyring, &issuer, ("HOST", "refresh_token"), "REFRESH");
    keyring.lock();
    let daemon = daemon(&issuer, Some(&keyring));
    let listed = sessions(&daemon, &issuer);
    assert!(listed.is_locked && listed.sessions.is_empty(), "{listed:?}");
    let output = daemon.shim(&["setup", "flyte", "--import"]);
    assert!(output.stdout.contains("is locked"), "{output:?}");
    assert!(keyring.is_locked());
    keyring.die();
    assert_eq!(sessions(&daemon, &issuer), ForeignSessions::default());
    let output = daemon.shim(&["setup", "flyte", "--import"]);
    assert!(output.stdout.contains("no other client has a session"), "{output:?}");
    assert!(output.stdout.contains("keyfob login flyte"), "{output:?}");
}

#[test]
fn a_session_goes_to_an_account_for_the_same_endpoint_and_to_no_other() {
    let [issuer, other] = [(); 2].map(|()| FakeIssuer::start(Settings::default()));
    let keyring = Keyring::unlocked();
    let refresh = session(&other);
    keep(&keyring, &other, ("HOST", "refresh_token"), &refresh);
    let home = Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.bus_address());
    home.configure(&(HEAD.to_owned() + &account("flyte", &issuer) + &config::account("prod", &other)));
    let daemon = Daemon::start_in(home);
    let import = |account: &str, endpoint: &str| {
        let body = format!(r#"{{"endpoint":"{endpoint}","donors":"delete"}}"#);
        daemon.send(&format!("/v1/accounts/{account}/import"), &body)
    };
    let (ours, theirs) = (host(&issuer), host(&other));

    for spelling in [ours.to_owned(), format!("dns:///{ours}"), format!("http://{ours}/")] {
        let answer = import("flyte", &spelling);
        assert_eq!(answer.status, ErrorCode::LoginRequired.status(), "nobody has one for it: {answer:?}");
    }
    for endpoint in [theirs.to_owned(), format!("dns:///{theirs}"), format!("{theirs}@{ours}"), String::new()]
    {
        let refused: ErrorBody = import("flyte", &endpoint).json();
        assert_eq!(refused.error, ErrorCode::BadRequest, "{endpoint}: {refused:?}");
        assert_eq!(
            refused.message,
            format!("flyte is for the Flyte endpoint dns:///{ours}, and for no other")
        );
        assert!(refused.hint.unwrap().ends_with("run: keyfob login flyte"));
    }
    let refused: ErrorBody = import("prod", theirs).json();
    assert_eq!(refused.error, ErrorCode::Misconfigured, "{refused:?}");
    assert!(refused.hint.unwrap().contains("flyte = \"dns:///HOST\""), "{}", refused.message);

    assert_eq!(keyring.secrets(), 1);
    assert_eq!(issuer.ledger().token_requests.len(), 0);
    assert_eq!(other.ledger().requests("refresh_token").len(), 0);
}

/// Returns the refresh token of a login that another client made.
fn session(issuer: &FakeIssuer) -> String {
    let mut client = Daemon::start(&config::device_code(issuer));
    client.log_in("prod");
    client.stop();
    issuer.ledger().families.last().unwrap().refresh_tokens[0].token.clone()
}

/// Returns a daemon that was killed at a step of taking over a session, and its issuer, which takes no token twice.
fn killed_in_mid_import(step: &str) -> (FakeIssuer, Daemon) {
    let issuer = FakeIssuer::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let refresh = session(&issuer);
    let mut daemon = daemon(&issuer, None);
    let text = format!("[{}]\nrefresh_token = {}\n\n", host(&issuer), STANDARD.encode(refresh));
    daemon.home().write(".flyte/keyring.cfg", &text, 0o600);
    daemon.stop();
    daemon.start_with(&format!("{step}=kill"));
    let body = format!(r#"{{"endpoint":"dns:///{}","donors":"delete"}}"#, host(&issuer));
    let headers = [("content-type", "application/json")];
    let path = "/v1/accounts/flyte/import";
    let request = Request { method: "POST", path, headers: &headers, body: &body };
    // The daemon may be dead before it has answered.
    drop(http::over_socket(&daemon.home().socket(), &request));
    let output = daemon.wait();
    assert_eq!(output.status, 128 + 9, "{step}: {}", output.stderr);
    (issuer, daemon)
}

fn daemon(issuer: &FakeIssuer, keyring: Option<&Keyring>) -> Daemon {
    let home = keyring.map_or_else(Home::new, |keyring| {
        Home::new().set("DBUS_SESSION_BUS_ADDRESS", &keyring.bus_address())
    });
    home.configure(&(HEAD.replace("prod", "flyte") + &account("flyte", issuer)));
    fs::create_dir(home.path(".flyte")).unwrap();
    home.write(".flyte/config.yaml", &YAML.replace("HOST", host(issuer)), 0o600);
    Daemon::start_in(home)
}

fn sessions(daemon: &Daemon, issuer: &FakeIssuer) -> ForeignSessions {
    daemon.api("GET", &format!("/v1/accounts/flyte/import?endpoint=dns:///{}", host(issuer))).json()
}

/// Keeps a session with an issuer in a keyring, as a client does.
fn keep(keyring: &Keyring, issuer: &FakeIssuer, (service, user): (&str, &str), written: &str) {
    let [service, user] = [service, user].map(|name| name.replace("HOST", host(issuer)));
    keyring.keep(&service, &user, written);
}

/// Returns the host and port at which an issuer stands for the Flyte that has it built in: its metadata are where the
/// gateway of that would have them.
fn host(issuer: &FakeIssuer) -> &str {
    issuer.url().strip_prefix("http://").unwrap()
}

/// Returns the section of an account for the Flyte at that address.
fn account(name: &str, issuer: &FakeIssuer) -> String {
    let server = format!("issuer = \"{}\"", issuer.url());
    let flyte = format!("flyte = \"dns:///{}\"\ninsecure = true", host(issuer));
    config::account(name, issuer).replace(&server, &flyte)
}
