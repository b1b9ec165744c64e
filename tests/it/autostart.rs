//! The shim starts a daemon where none answers.

use std::fs;

use integration_tests::config;
use integration_tests::home::Home;
use integration_tests::http::{self, Request};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::{Output, Process};
use integration_tests::shim;
use keyfob_protocol::account::AccountList;
use keyfob_protocol::daemon::Version;

#[test]
fn a_daemon_that_the_shim_starts_is_where_the_shim_looks_for_it() {
    let issuer = FakeIssuer::start(Settings::default());
    // Programs run in the home, so these are names in it.
    let home = Home::new().set("KEYFOB_CONFIG", "run/keyfob.toml").set("KEYFOB_SOCKET", "run/own.sock");
    home.write("run/keyfob.toml", &config::device_code(&issuer), 0o600);
    let status = shim::run(&home, &["status", "--json"]);
    let stop = shim::run(&home, &["stop"]);
    assert_eq!((status.status, stop.status), (0, 0), "{status:?} {stop:?}");
    let list: AccountList = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(list.accounts[0].name.as_str(), "prod");
}

#[test]
fn ten_shims_that_find_no_daemon_start_one() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    let mut shims: Vec<_> = (0..10).map(|_| shim::spawn(&home, &["status", "--json"])).collect();
    let outputs: Vec<Output> = shims.iter_mut().map(Process::wait).collect();
    // Those that came second go by themselves. One that was still about to would take the place of the one that stops.
    eventually(SOON, "one daemon is left", || daemons(&home) == 1);
    let version = http::over_socket(
        &home.socket(),
        &Request { method: "GET", path: "/v1/version", headers: &[], body: "" },
    );
    let stop = shim::run(&home, &["stop"]);
    assert!(outputs.iter().all(|output| output.status == 0), "{outputs:?}");
    let pid = version.unwrap().json::<Version>().pid;
    assert!(stop.stdout.contains(&pid.to_string()), "{stop:?}");
    assert!(!home.socket().exists(), "another daemon is still there");
}

/// Returns how many daemons run in a home.
fn daemons(home: &Home) -> usize {
    let socket = home.socket().into_os_string().into_encoded_bytes();
    let has_it = |arguments: &[u8]| arguments.split(|&byte| byte == 0).any(|argument| argument == socket);
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    // A process may end while it is looked at.
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .filter(|it| has_it(it))
        .count()
}
