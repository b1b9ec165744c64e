//! No secret gets anywhere but where it belongs.
//!
//! Every secret of a fake issuer begins with `CANARY`, and the daemon logs at its finest level: so one search finds
//! what any leak would leave.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use integration_tests::canary::walk;
use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use keyfob_protocol::account::RenewalStatus;
use serde_json::json;

const CANARY: &str = "CANARY";

#[test]
fn a_whole_story_leaves_no_secret_behind() {
    let issuer = FakeIssuer::start(Settings {
        access_lifetime: Duration::from_secs(60),
        rotation: Rotation::Grace(Duration::from_secs(600)),
        ..Settings::default()
    });
    // Else nothing would be tried again after two answers that got lost.
    let mut daemon = Daemon::start(&format!("{}rotation = \"none\"\n", config::device_code(&issuer)));
    daemon.log_in("prod");
    assert_no_leaks(&leaks(&daemon));
    // Issuers that repeat what they were sent, as some do, and answers that break off in the middle of a secret.
    let live = issuer.ledger().families[0].live().unwrap().token.clone();
    let echo =
        json!({ "error": "server_error", "error_description": format!("invalid refresh token {live}") });
    let leaky = [
        (Point::BeforeCommit, Fault::Answer(Reply::json(400, &echo))),
        (Point::BeforeCommit, Fault::Answer(Reply::html(502, &format!("what is {live}")))),
        (Point::BeforeReply, Fault::Giant),
        (Point::MidBody, Fault::HangUp),
    ];
    for (point, fault) in leaky {
        issuer.break_every(Endpoint::Token, point, fault.clone());
        let failures = failures(&daemon);
        eventually(SOON, &format!("a renewal fails by {fault:?}"), || {
            daemon.token_with("prod", MORE_LIFE);
            self::failures(&daemon) > failures
        });
        assert_no_leaks(&leaks(&daemon));
        issuer.mend();
    }
    daemon.renew("prod");
    assert_no_leaks(&leaks(&daemon));
    daemon.kill();
    assert_no_leaks(&leaks_at_rest(&daemon));
    daemon.start_again();
    daemon.shim(&["logout"]);
    assert_no_leaks(&leaks(&daemon));
    daemon.stop();
    assert_no_leaks(&leaks_at_rest(&daemon));
}

#[test]
fn a_device_code_is_shown_to_nobody_8628_6() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.begin_login("prod");
    let shown = daemon.api("GET", "/v1/accounts/prod/login").body;
    assert!(!shown.contains(CANARY), "{shown}");
    assert_no_leaks(&leaks(&daemon));
}

#[test]
fn the_one_socket_is_where_it_should_be() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let mut sockets = Vec::new();
    walk(&daemon.home().path(""), &mut |path| {
        if fs::symlink_metadata(path).unwrap().file_type().is_socket() {
            sockets.push(path.to_owned());
        }
    });
    assert_eq!(sockets, [daemon.home().socket()]);
}

#[test]
fn a_search_for_secrets_finds_what_is_there() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.home().write("state/leak", "x CANARY x", 0o600);
    assert_eq!(leaks(&daemon), [daemon.home().path("state/leak").display().to_string()]);
}

/// Returns how many renewals have failed in a row.
fn failures(daemon: &Daemon) -> u32 {
    match daemon.account("prod").renewal {
        RenewalStatus::Due { failures, .. } | RenewalStatus::OnDemand { failures } => failures,
        RenewalStatus::InFlight | RenewalStatus::Impossible | RenewalStatus::Unknown => 0,
    }
}

#[track_caller]
fn assert_no_leaks(leaks: &[String]) {
    assert!(leaks.is_empty(), "secrets in {leaks:#?}");
}

/// Returns where a running daemon leaks.
fn leaks(daemon: &Daemon) -> Vec<String> {
    let mut leaks = leaks_at_rest(daemon);
    let mut look = |place: &str, contents: &[u8]| {
        if has_secret(contents) {
            leaks.push(place.to_owned());
        }
    };
    let pid = daemon.process().id();
    for file in ["cmdline", "environ"] {
        // What cannot be read leaks nothing.
        look(file, &fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
    }
    for path in ["/v1/accounts", "/v1/accounts/prod/login", "/v1/version"] {
        look(path, daemon.api("GET", path).body.as_bytes());
    }
    look("keyfob status", daemon.shim(&["status"]).stdout.as_bytes());
    look("keyfob status --json", daemon.shim(&["status", "--json"]).stdout.as_bytes());
    leaks
}

/// Returns where there is a secret in the log and in the files of the home: the state, and what all programs wrote.
fn leaks_at_rest(daemon: &Daemon) -> Vec<String> {
    let mut leaks: Vec<String> =
        daemon.log().lines().filter(|line| has_secret(line.as_bytes())).map(str::to_owned).collect();
    walk(&daemon.home().path(""), &mut |path| {
        if fs::read(path).is_ok_and(|contents| has_secret(&contents)) {
            leaks.push(path.display().to_string());
        }
    });
    leaks
}

fn has_secret(haystack: &[u8]) -> bool {
    haystack.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}
