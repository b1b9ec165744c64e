//! `cargo run --bin demo`: keyfob at work in half a minute, beside an issuer that lives for the demonstration only.
//!
//! It runs the real programs in a temporary home, and touches nothing of the user's own. Whatever is not as it says
//! ends it with a failure. It never shows a whole token.

#![expect(clippy::print_stdout, reason = "this is what a demonstration is for")]

use std::time::{Duration, Instant};

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{self, SOON, eventually, found};
use integration_tests::process::{Output, Process};
use integration_tests::{person, programs, shim};

/// How long an access token lives: long enough to be renewed ahead of its expiry, short enough to wait for that.
const LIFETIME: Duration = Duration::from_secs(24);

fn main() {
    println!("keyfob, shown with an issuer that lives for this demonstration only\n");
    println!("1. Building keyfobd and keyfob (the first time takes a few minutes)");
    programs::directory();
    let issuer = FakeIssuer::start(Settings {
        access_lifetime: LIFETIME,
        secret_prefix: "demo",
        ..Settings::default()
    });
    let mut daemon = start(&issuer);
    log_in(&daemon);
    let login_at = patience::now();
    let token = share(&daemon, &issuer);
    renew(&daemon, &issuer, &token, login_at);
    show_status(&daemon);
    let left = daemon.home().path("");
    stop(&mut daemon);
    drop(daemon);
    assert!(!left.exists(), "{} is still there", left.display());
    println!("   The temporary home is removed. All was as said.");
}

fn start(issuer: &FakeIssuer) -> Daemon {
    let home = Home::new();
    home.configure(&config::device_code(issuer));
    println!("2. Starting keyfobd in a temporary home, {}", home.path("").display());
    println!(
        "   Nothing of yours is read or written. Its one account is \"prod\", at the issuer {}",
        issuer.url()
    );
    println!("   whose access tokens live {} seconds.", LIFETIME.as_secs());
    Daemon::start_in(home)
}

fn log_in(daemon: &Daemon) {
    println!("3. Running: keyfob login");
    let mut login = shim::spawn(daemon.home(), &["login", "--no-qr", "--no-autostart"]);
    let (page, code) = found(SOON, "keyfob login shows a page and a code", || person::read(&login.shown()));
    quote(&login.shown());
    println!("   A scripted person opens that page, enters {code} and approves.");
    person::approve(&page, &code);
    succeeded(&login.wait());
    println!("   keyfob login has ended: signed in.");
}

/// Three tools ask at once; all get the same token, and the issuer hears of none of them.
fn share(daemon: &Daemon, issuer: &FakeIssuer) -> String {
    let requests_before = issuer.ledger().token_requests.len();
    let home = daemon.home();
    let keyfob = || ("keyfob token", shim::spawn(home, &["token", "prod", "--no-autostart"]));
    let mut tools = [keyfob(), keyfob(), curl(home).map_or_else(keyfob, |curl| ("curl on the socket", curl))];
    println!("4. Three tools ask for the token at the same time");
    let tokens = tools.each_mut().map(|(name, tool)| {
        let token = succeeded(&tool.wait()).trim_end().to_owned();
        println!("   {name} got {}", shortened(&token));
        token
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]), "they got different tokens");
    let requests = issuer.ledger().token_requests.len() - requests_before;
    assert_eq!(requests, 0, "the issuer was asked again");
    println!("   One login, the same token for all; the issuer was not asked again.");
    tokens[0].clone()
}

/// The token is replaced by a new one while it still works.
fn renew(daemon: &Daemon, issuer: &FakeIssuer, old: &str, login_at: Instant) {
    println!("5. Waiting for the daemon to renew the token ahead of its expiry");
    let home = daemon.home();
    eventually(LIFETIME, "a renewal", || !issuer.ledger().requests("refresh_token").is_empty());
    let new = found(SOON, "a new token", || {
        let token = succeeded(&shim::run(home, &["token", "--no-autostart"])).trim_end().to_owned();
        (token != old).then_some(token)
    });
    let after = login_at.elapsed().as_secs();
    assert!(issuer.honours(old), "the old token had expired before it was renewed");
    assert!(issuer.honours(&new), "the new token does not work");
    let ledger = issuer.ledger();
    assert_eq!(ledger.requests("refresh_token").len(), 1, "more than one refresh");
    assert_eq!(ledger.violations, [""; 0], "the issuer complains");
    println!(
        "   {after} seconds after the login, while the old token still worked, the daemon fetched a new one."
    );
    println!("   The issuer saw one refresh, and keyfob token now prints {}", shortened(&new));
}

fn show_status(daemon: &Daemon) {
    println!("6. Running: keyfob status");
    quote(&succeeded(&shim::run(daemon.home(), &["status", "--no-autostart"])));
}

fn stop(daemon: &mut Daemon) {
    println!("7. Running: keyfob stop");
    succeeded(&shim::run(daemon.home(), &["stop"]));
    let output = daemon.wait();
    assert_eq!(output.status, 0, "keyfobd did not end well: {}", output.stderr);
    println!("   keyfobd has ended.");
}

/// Asks for the token without keyfob, where there is a curl.
fn curl(home: &Home) -> Option<Process> {
    let mut version = home.command("curl");
    let there = version.arg("--version").output().is_ok_and(|output| output.status.success());
    there.then(|| {
        let mut curl = home.command("curl");
        curl.args(["--silent", "--fail", "--header", "accept: text/plain", "--unix-socket"]);
        curl.arg(home.socket()).arg("http://localhost/v1/accounts/prod/token");
        home.spawn_command(curl)
    })
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert_eq!(output.status, 0, "{}", output.stderr);
    output.stdout.clone()
}

fn quote(text: &str) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        println!("   | {line}");
    }
}

/// Returns enough of a token to tell it from another one, and not enough to use it.
fn shortened(token: &str) -> String {
    format!("{}...", token.chars().take(14).collect::<String>())
}
