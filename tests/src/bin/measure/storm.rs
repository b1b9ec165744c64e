//! Hundreds of renewals at once, and what somebody notices who only wants a token that is there.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::settings::{Client, Settings};
use integration_tests::patience::now;

use crate::figures::milliseconds;
use crate::load::{self, Clients, Connection, Load};

const ACCOUNTS: usize = 500;

/// How long the issuer takes for each: with four at a time, the storm lasts for some seconds.
const LATENCY: Duration = Duration::from_millis(50);

/// How long the reader reads in peace, and the storm at most.
const TIME: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);

/// Measures one reader in peace, then while all other accounts are renewed.
pub(crate) fn measure() {
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("c{number}")).collect();
    let clients =
        names.iter().map(|name| Client::basic(name, "secret")).chain([Client::public("cli")]).collect();
    let issuer = FakeIssuer::start(Settings { clients, ..Settings::default() });
    let home = Home::new().set("KEYFOB_LOG", "warn").set("SECRET", "secret");
    home.configure(&configuration(&names, &issuer));
    let daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    let reader = Clients { count: 1, connection: Connection::Fresh, account: "prod" };
    let socket = daemon.home().socket();
    let done = || issuer.ask(|ledger, _| ledger.requests("client_credentials").len());
    let peace = load::run(&socket, reader, load::lasting(TIME));
    issuer.break_every(Endpoint::Token, Point::BeforeReply, Fault::Delay(LATENCY));
    let (start, is_late) = (now(), load::lasting(LONGEST));
    let stormy = thread::scope(|scope| {
        scope.spawn(|| {
            for name in &names {
                // Nobody waits for them: what is asked for is that they begin.
                drop(daemon.try_api("GET", &format!("/v1/accounts/{name}/token?wait=0")));
            }
        });
        load::run(&socket, reader, || is_late() || done() >= ACCOUNTS)
    });
    let time = start.elapsed();
    println!(
        "\n| one client, a cached token | requests/s | p50 | p99 | worst | errors |\n|---|--:|--:|--:|--:|--:|"
    );
    row("in peace", &peace);
    row(&format!("while {} other accounts get new tokens, for {} ms", done(), time.as_millis()), &stormy);
}

fn row(what: &str, load: &Load) {
    let [p50, p99] = [50, 99].map(|percent| milliseconds(load.latencies.at(percent)));
    let worst = milliseconds(load.latencies.worst());
    println!("| {what} | {:.0} | {p50} | {p99} | {worst} | {} |", load.per_second, load.errors);
}

fn configuration(names: &[String], issuer: &FakeIssuer) -> String {
    let mut config = HEAD.to_owned() + &config::account("prod", issuer);
    for name in names {
        write!(
            config,
            r#"
[accounts.{name}]
token_endpoint = "{}/token"
client_id = "{name}"
client_secret = {{ env = "SECRET" }}
grant = "client_credentials"
tls = {{ allow_http_loopback = true }}
"#,
            issuer.url()
        )
        .unwrap();
    }
    config
}
