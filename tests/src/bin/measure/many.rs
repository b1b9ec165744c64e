//! What the number of accounts costs: starting, sitting there, a token of one of them, a status of all.
//!
//! The store is filled with the daemon's own code, so that ten thousand need not log in.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::patience::{now, rest};
use integration_tests::programs;
use integration_tests::vitals::Vitals;
use keyfob_daemon::clock::Clock;
use keyfob_daemon::config::Config;
use keyfob_daemon::config::environment::Environment;
use keyfob_daemon::store::key::KeyChoice;
use keyfob_daemon::store::{Location, Place, Record, Sources, Store};
use keyfob_daemon::token::{AccessToken, RefreshToken, TokenSet};

use crate::figures::{Times, milliseconds};
use crate::load::{self, Clients, Connection};

/// In memory: what is measured is the daemon, and ten thousand files would take the disk a minute.
const IN_MEMORY: &str = "/dev/shm";

/// Nothing is due while it is measured.
const LIFETIME: Duration = Duration::from_secs(36_000);

/// After the start, until the daemon is looked at in peace: threads that read the store are gone by then.
const CALM: Duration = Duration::from_secs(15);
const PEACE: Duration = Duration::from_secs(20);

/// How often it is started, and asked for a status.
const STARTS: usize = 5;
const STATUSES: usize = 20;

/// How long the token of one account is asked for.
const LOAD: Duration = Duration::from_secs(2);

/// Measures daemons with so many accounts.
pub(crate) fn measure(numbers: &[usize]) {
    println!(
        "\n| accounts | start to first answer | to a token | resident | wake-ups/s | p50 of a token | p99 | status, API | `keyfob status` |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for number in numbers {
        row(*number);
    }
}

fn row(number: usize) {
    let home = Home::new_in(Path::new(IN_MEMORY)).set("KEYFOB_LOG", "warn");
    let accounts: Vec<String> = (0..number).map(|number| format!("a{number}")).collect();
    home.configure(&config(&accounts));
    fill(&home);
    let account = accounts[number / 2].as_str();
    let mut daemon = Daemon::run_by_another(home);
    let (mut starts, mut firsts) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let start = now();
        daemon.start_promptly();
        starts.push(start.elapsed().as_micros());
        assert_eq!(daemon.api("GET", &format!("/v1/accounts/{account}/token")).status, 200);
        firsts.push(start.elapsed().as_micros());
        assert_eq!(daemon.stop().status, 0);
    }
    daemon.start_promptly();
    rest(CALM);
    let pid = daemon.process().id();
    let before = Vitals::of(pid);
    rest(PEACE);
    let after = Vitals::of(pid);
    let wakeups = after.wakeups.saturating_sub(before.wakeups) as f64 / PEACE.as_secs_f64();
    let clients = Clients { count: 1, connection: Connection::Fresh, account };
    let tokens = load::run(&daemon.home().socket(), clients, load::lasting(LOAD));
    assert_eq!(tokens.errors, 0);
    let time = |look: &dyn Fn()| {
        let start = now();
        look();
        start.elapsed().as_micros()
    };
    let api = Times::new(
        (0..STATUSES).map(|_| time(&|| assert_eq!(daemon.api("GET", "/v1/accounts").status, 200))).collect(),
    );
    // Not by the harness, which looks every ten milliseconds whether a program has ended.
    let shown = || {
        let mut command = Command::new(programs::directory().join("keyfob"));
        command.arg("status").env("KEYFOB_SOCKET", daemon.home().socket()).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
    };
    let status = Times::new((0..STATUSES).map(|_| time(&shown)).collect());
    println!(
        "| {number} | {} | {} | {:.1} MiB | {wakeups:.2} | {} | {} | {} | {} |",
        milliseconds(Times::new(starts).at(50)),
        milliseconds(Times::new(firsts).at(50)),
        after.resident as f64 / 1024.0,
        milliseconds(tokens.latencies.at(50)),
        milliseconds(tokens.latencies.at(99)),
        milliseconds(api.at(50)),
        milliseconds(status.at(50)),
    );
}

fn config(accounts: &[String]) -> String {
    let mut config = HEAD.replace("prod", &accounts[0]);
    for name in accounts {
        config.push_str(&config::of_its_own(name, "https://login.example.com", ""));
    }
    config
}

/// Puts a login of each account of the configuration into the store of a home.
fn fill(home: &Home) {
    let config = Config::read(&home.config(), &std::iter::empty().collect::<Environment>()).unwrap();
    let clock = Clock::system();
    let location = Location::of(home.path("state/keyfob"));
    let store = Store::open(&location, KeyChoice::File, Sources::of_the_system(None), clock.clone()).unwrap();
    for account in &config.accounts {
        let now = clock.now().moment;
        let access = AccessToken::new("x".repeat(64).into(), now, Some(now.after(LIFETIME))).unwrap();
        let refresh = RefreshToken::new("y".repeat(64).into(), "https://login.example.com".to_owned());
        let tokens = TokenSet { refresh: Some(refresh), ..TokenSet::of(access) };
        let record = Record {
            generation: 1,
            fingerprint: account.fingerprint(),
            tokens,
            ended: None,
            place: Place::State,
        };
        store.save(&account.name, &record).unwrap();
    }
}
