//! Every kind of secret is looked for by itself, wherever a daemon and a shim leave anything: logs, answers, errors, what
//! `/proc` shows of them, and every file. Then in memory, once the login is over.

use std::fs;

use integration_tests::canary::{CLIENT, Canary, KEY_FILE, LOGINS, kinds_in, walk};
use integration_tests::daemon::MORE_LIFE;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::reply::Reply;
use integration_tests::memory::{self, Marked};
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::Process;
use integration_tests::shim;
use serde_json::json;

/// All kinds but those that a login by one grant does not have.
const KINDS: [&str; 11] = [
    "DPoP key",
    "ID token",
    "PKCE verifier",
    "access token",
    "authorization code",
    "client secret",
    "device code",
    "refresh token",
    "spent refresh token",
    "store key",
    "store key (hexadecimal)",
];

/// Questions that are answered with an error, or with nothing secret.
const QUESTIONS: [(&str, &str); 12] = [
    ("GET", "/v1/accounts"),
    ("GET", "/v1/version"),
    ("GET", "/v1/accounts/prod/login"),
    ("GET", "/v1/accounts/web/login"),
    ("GET", "/v1/accounts/nobody/token"),
    ("GET", "/v1/accounts/%00/token"),
    ("GET", "/v1/accounts/prod/token?scope=more"),
    ("GET", "/v1/accounts/prod/token?audience=x&audience=y"),
    ("GET", "/v1/accounts/prod/token?min_ttl=soon"),
    ("GET", "/v1/accounts/ci/token?kind=id"),
    ("POST", "/v1/accounts/prod/token"),
    ("POST", "/v1/accounts/prod/token/rejected"),
];

const COMMANDS: [&[&str]; 6] = [
    &["status"],
    &["status", "--json"],
    &["token", "nobody"],
    &["token", "prod", "--scope", "more"],
    &["login", "ci"],
    &["reload"],
];

#[test]
fn no_secret_of_any_kind_gets_anywhere_but_where_it_belongs_l6() {
    let canary = Canary::sing();
    let secrets = canary.secrets();
    let mut kinds: Vec<_> = secrets.iter().map(|secret| secret.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, KINDS);
    assert_no_leaks(&canary, &secrets);
    for (account, issuer, kind) in [
        (CLIENT, &canary.client, "client secret"),
        ("prod", &canary.secure, "refresh token"),
        ("web", &canary.plain, "refresh token"),
    ] {
        quote(issuer, kind, &secrets);
        eventually(SOON, "a renewal fails", || {
            canary.daemon.api("GET", &format!("/v1/accounts/{account}/token?{MORE_LIFE}&wait=0"));
            canary.daemon.account(account).last_error.is_some()
        });
    }
    assert_no_leaks(&canary, &secrets);
    for account in LOGINS {
        canary.daemon.shim(&["logout", account]);
    }
    assert_no_leaks(&canary, &secrets);
}

#[test]
fn once_a_login_is_over_no_memory_has_its_refresh_tokens_their_keys_or_its_codes_l9() {
    const OVER: [&str; 6] = [
        "refresh token",
        "spent refresh token",
        "DPoP key",
        "device code",
        "authorization code",
        "PKCE verifier",
    ];
    let canary = Canary::sing();
    let secrets = canary.secrets();
    let pid = canary.daemon.process().id();
    let before = memory::search(pid, &secrets);
    // What is looked for can be found.
    for kind in ["refresh token", "DPoP key", "store key", "access token"] {
        assert!(memory::copies(&before, kind) > 0, "{kind}: {before:?}");
    }
    for account in LOGINS {
        canary.daemon.api("DELETE", &format!("/v1/accounts/{account}/session"));
    }
    let after = memory::search(pid, &secrets);
    for kind in OVER {
        assert_eq!(memory::copies(&after, kind), 0, "{kind}: {after:?}");
    }
}

/// Lets an issuer refuse everything, and repeat what it was sent of this kind.
fn quote(issuer: &FakeIssuer, kind: &str, secrets: &[Marked]) {
    let live: Vec<_> =
        issuer.ledger().families.iter().map(|family| family.live().unwrap().token.clone()).collect();
    let is_sent = |text: &&str| live.is_empty() || live.iter().any(|token| token == text);
    let known = secrets.iter().filter(|secret| secret.kind == kind);
    let known = known.filter_map(|secret| std::str::from_utf8(&secret.bytes).ok()).filter(is_sent);
    let quoted = format!("what is {}", known.collect::<Vec<_>>().join(" and "));
    let answer = json!({ "error": "server_error", "error_description": quoted, "error_uri": quoted });
    for endpoint in [Endpoint::Token, Endpoint::Revocation] {
        issuer.break_every(endpoint, Point::BeforeCommit, Fault::Answer(Reply::json(400, &answer)));
    }
}

#[track_caller]
fn assert_no_leaks(canary: &Canary, secrets: &[Marked]) {
    let leaks = leaks(canary, secrets);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Returns where there is what, other than the key in its own file.
fn leaks(canary: &Canary, secrets: &[Marked]) -> Vec<String> {
    let daemon = &canary.daemon;
    let mut leaks = Vec::new();
    let mut look = |place: &str, contents: &[u8]| {
        leaks.extend(kinds_in(contents, secrets).into_iter().map(|kind| format!("{kind} in {place}")));
    };
    for (method, path) in QUESTIONS {
        let answer = daemon.api(method, path);
        look(&format!("the answer to {method} {path}"), format!("{answer:?}").as_bytes());
    }
    for command in COMMANDS {
        let output = daemon.shim(command);
        look(&format!("keyfob {command:?}"), format!("{output:?}").as_bytes());
    }
    let waiting = waiting_shim(canary);
    // What a person's shell has in its environment is in that of the shim as well.
    let (keyfobd, keyfob) = (daemon.process().id(), waiting.id());
    for (pid, file) in [(keyfobd, "cmdline"), (keyfobd, "environ"), (keyfob, "cmdline")] {
        look(&format!("{file} of process {pid}"), &fs::read(format!("/proc/{pid}/{file}")).unwrap());
    }
    look("the log", daemon.log().as_bytes());
    daemon.api("DELETE", "/v1/accounts/prod/login");
    let key = daemon.home().path(KEY_FILE);
    walk(&daemon.home().path(""), &mut |path| {
        if path != key && path.is_file() {
            look(&path.display().to_string(), &fs::read(path).unwrap());
        }
    });
    leaks
}

/// Returns a shim that waits for a person.
fn waiting_shim(canary: &Canary) -> Process {
    let waiting = shim::spawn(canary.daemon.home(), &["login", "prod", "--device"]);
    eventually(SOON, "a shim that waits", || waiting.shown().contains("http"));
    waiting
}
