//! The shim starts a daemon where none answers.

use integration_tests::config;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::shim;
use keyfob_protocol::account::AccountList;

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
