//! Measures what people wait for: the shim from start to exit, the socket under load, the daemon's idle memory.
//!
//! Timing is never a test: it depends on the machine and on what else it does. So everything that is compared runs
//! interleaved, in one run, and each figure comes with its spread.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has no figure")]
#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

mod commands;
mod load;
mod pizauth;

use std::path::PathBuf;
use std::time::Duration;

use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::{config, programs};

use commands::Contender;

/// Starts of each program.
const ROUNDS: usize = 2_000;

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(3);

fn main() {
    let pizauth = std::env::args_os().nth(1).map(PathBuf::from);
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new().set("KEYFOB_LOG", "info");
    home.configure(&config::device_code(&issuer));
    let daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    println!("idle memory of keyfobd with one account: {} KiB resident", resident(&daemon));

    let rival = pizauth.map(pizauth::Pizauth::start);
    let mut contenders = vec![Contender::new("/bin/true", "/bin/true", &[])];
    for (name, program) in shims() {
        contenders.push(
            Contender::new(name, program, &["token", "prod"])
                .with("XDG_RUNTIME_DIR", &daemon.home().path("run"))
                .with("HOME", &daemon.home().path("")),
        );
    }
    contenders.extend(rival.as_ref().map(pizauth::Pizauth::show));
    println!("\nstart to exit, {ROUNDS} times each, interleaved (microseconds):");
    println!("{:<24}{:>10}{:>10}{:>10}", "", "median", "p10", "p90");
    for (name, times) in commands::race(&contenders, ROUNDS) {
        println!("{name:<24}{:>10}{:>10}{:>10}", times.at(50), times.at(10), times.at(90));
    }

    println!("\nGET /v1/accounts/prod/token for {} s each:", LOAD.as_secs());
    println!("{:<24}{:>14}{:>12}{:>12}{:>8}", "clients", "requests/s", "p50 (us)", "p99 (us)", "errors");
    for connection in [load::Connection::Fresh, load::Connection::Kept] {
        for clients in [1, 16, 64] {
            let result = load::run(&daemon.home().socket(), clients, connection, LOAD);
            println!(
                "{:<24}{:>14.0}{:>12}{:>12}{:>8}",
                format!("{clients}, {connection:?} connections"),
                result.per_second,
                result.latencies.at(50),
                result.latencies.at(99),
                result.errors
            );
        }
    }
    println!("\nmemory of keyfobd after the load: {} KiB resident", resident(&daemon));
}

/// Returns the shims that are built: the usual one, and the static one where its target is installed.
fn shims() -> Vec<(&'static str, PathBuf)> {
    let usual = programs::directory().join("keyfob");
    let fixed = programs::directory().join("../x86_64-unknown-linux-musl/release/keyfob");
    let all = [("keyfob token, static", fixed), ("keyfob token, dynamic", usual)];
    all.into_iter().filter(|(_, program)| program.exists()).collect()
}

/// Returns the daemon's resident memory in KiB.
fn resident(daemon: &Daemon) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process().id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").to_owned()
}
