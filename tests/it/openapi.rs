//! The API does what it says of itself, whatever it is asked: schemathesis makes requests of the description, right and
//! wrong ones, and holds each answer against it.

use integration_tests::companion::{installed, source};
use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::relay::Relay;

/// Requests that are made up for each operation and each kind of data, beside those that the description suggests by
/// itself: a few seconds in all.
const EXAMPLES: &str = "8";

/// A story that fails can be told again.
const SEED: &str = "1";

#[test]
fn every_answer_is_what_the_description_of_the_api_says() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let relay = Relay::start(&daemon.home().socket());
    let mut command = daemon.home().command(installed("schemathesis/bin/schemathesis"));
    command.arg("--config-file").arg(source("schemathesis.toml"));
    command.args(["run", &format!("{}/v1/openapi.json", relay.url()), "--url", &relay.url()]);
    command.args(["--header", "Host: localhost", "--checks", "all", "--seed", SEED]);
    command.args(["--max-examples", EXAMPLES, "--no-color", "--continue-on-failure"]);
    // After either of them there would be nothing to see but that it was done.
    command.args(["--exclude-operation-id", "stop", "--exclude-operation-id", "lock"]);
    let output = daemon.home().spawn_command(command).wait();
    assert_eq!(output.status, 0, "{}\n{}", output.stdout, output.stderr);
    // The daemon is none the worse for it.
    daemon.log_in("prod");
    daemon.token("prod");
    assert_eq!(daemon.api("POST", "/v1/stop").status, 204);
}
