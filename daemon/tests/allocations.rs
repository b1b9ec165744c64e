//! What a cached token costs the daemon in allocations, held to figures: the first thing to grow unseen, and the same on
//! every Linux machine, whatever else runs there.
//!
//! The real server answers over a real socket, with the log of the real program. All of it runs on the test's own thread,
//! and the clients allocate nothing, so that what is counted is the server's. The thing to get wrong: what happens once,
//! such as a table that grows, is no cost of a request. So there is a run before the one that counts, long enough to fill
//! what fills up.

// The look at who asks is one in /proc.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "where the harness fails, the test fails")]

use std::fs;
use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use keyfob_daemon::account::registry::Registry;
use keyfob_daemon::account::{Account, Means};
use keyfob_daemon::api::control::{Control, MAX_ORDERS};
use keyfob_daemon::api::socket::OwnSocket;
use keyfob_daemon::api::{Api, serve};
use keyfob_daemon::cache::TokenCache;
use keyfob_daemon::clock::Clock;
use keyfob_daemon::config::Config;
use keyfob_daemon::config::environment::Environment;
use keyfob_daemon::flyte::discovery::Discoveries;
use keyfob_daemon::flyte::keyring::Keyrings;
use keyfob_daemon::grant::binding::Lessons;
use keyfob_daemon::grant::program;
use keyfob_daemon::oauth::http::Http;
use keyfob_daemon::oauth::transport::Transport;
use keyfob_daemon::store::key::KeyChoice;
use keyfob_daemon::store::{Location, Place, Record, Sources, Store};
use keyfob_daemon::token::{AccessToken, RefreshToken, Scope, TokenSet};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

// To set a figure anew, run `cargo test -p keyfob-daemon --test allocations -- --nocapture`, take the numbers that it prints,
// and say beside them what the cost is for.

/// A program that keeps its connection. The head is taken apart, the router boxes what it calls, the query is read, and the
/// token is in the answer twice, as JSON. The audit knows the program by then, and only counts.
const KEPT: Figure = Figure { name: "KEPT", cost: Cost { allocations: 35, bytes: 21_483 } };

/// The token command, with a connection of its own. Beside the above there are the connection's task and its buffers, and a
/// look at the process in `/proc`; the token is in the answer once, bare.
const FRESH: Figure = Figure { name: "FRESH", cost: Cost { allocations: 44, bytes: 34_670 } };

/// How far off a figure may be. Two runs do not differ, but two machines do: by the path of the test, and by whether it runs in a
/// unit. And a library's next version may well take an allocation more.
const TOLERANCE_PERCENT: u64 = 10;

/// How many requests are counted: so many that a task of the daemon's own that falls among them, or a table that grows,
/// does not make one more for each.
const COUNTED: u64 = 1_000;

/// The token: as long as those that people have, and of one letter.
const TOKEN_LENGTH: usize = 1_000;
const LETTER: u8 = b'e';

const KEPT_REQUEST: &[u8] = b"GET /v1/accounts/prod/token HTTP/1.1\r\nHost: keyfob\r\nAccept: */*\r\n\r\n";

/// As the token command has it. The process that asks has another name, so that it is looked at itself: who runs the tests
/// differs from run to run, and must not be taken for one whose token was refused.
const FRESH_REQUEST: &[u8] =
    b"GET /v1/accounts/prod/token?wait=10 HTTP/1.1\r\nHost: keyfob\r\nUser-Agent: keyfob\r\n\
    Accept: text/plain\r\nConnection: close\r\n\r\n";

/// What one request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    allocations: u64,
    bytes: u64,
}

/// What a request of one kind may take.
struct Figure {
    name: &'static str,
    cost: Cost,
}

impl Figure {
    /// Holds what was measured to the figure, in both directions: what got better is written down as well, else its loss
    /// goes unseen.
    fn judge(&self, measured: Cost) -> Result<(), String> {
        let Self { name, cost: written } = self;
        let is_near =
            |measured: u64, written: u64| measured.abs_diff(written) * 100 <= written * TOLERANCE_PERCENT;
        if is_near(measured.allocations, written.allocations) && is_near(measured.bytes, written.bytes) {
            return Ok(());
        }
        Err(format!(
            "a cached token takes {measured:?}, and {name} says {written:?}: find out why, then write what was measured \
             and the reason beside {name} in {}",
            file!()
        ))
    }
}

#[test]
fn a_cached_token_costs_a_program_that_keeps_its_connection_as_many_allocations_as_it_did() {
    let daemon = Daemon::start();
    let mut kept = daemon.connect();
    let mut answer = [0; 4 * TOKEN_LENGTH];
    let measured = daemon.cost_of(async || {
        kept.write_all(KEPT_REQUEST).unwrap();
        let length = read(&mut kept, &mut answer).await;
        is_token(&answer[..length])
    });
    println!("KEPT: {measured:?}");
    assert_eq!(KEPT.judge(measured), Ok(()));
}

#[test]
fn a_cached_token_costs_the_token_command_as_many_allocations_as_it_did() {
    let daemon = Daemon::start();
    let mut answer = [0; 4 * TOKEN_LENGTH];
    let measured = daemon.cost_of(async || {
        let mut fresh = daemon.connect();
        fresh.write_all(FRESH_REQUEST).unwrap();
        let length = read(&mut fresh, &mut answer).await;
        // The server has closed it, too: nothing of this request is left for the next.
        assert_eq!(read(&mut fresh, &mut [0]).await, 0);
        fresh.shutdown(Shutdown::Both).unwrap();
        is_token(&answer[..length])
    });
    println!("FRESH: {measured:?}");
    assert_eq!(FRESH.judge(measured), Ok(()));
}

#[test]
fn what_got_better_is_told_as_what_got_worse_is() {
    let cost = |allocations, bytes| Cost { allocations, bytes };
    let figure = Figure { name: "FIGURE", cost: cost(100, 1_000) };
    for near in [cost(100, 1_000), cost(90, 1_100), cost(110, 900)] {
        assert_eq!(figure.judge(near), Ok(()));
    }
    for far in [cost(89, 1_000), cost(111, 1_000), cost(100, 899), cost(100, 1_101)] {
        let told = figure.judge(far).unwrap_err();
        assert!(told.contains(&format!("takes {far:?}")) && told.contains("beside FIGURE in "), "{told}");
    }
}

/// The server of the daemon, with an account whose token is good for an hour.
struct Daemon {
    runtime: Runtime,
    socket: PathBuf,
    _home: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let socket = home.path().join("run/keyfob.sock");
        // As main makes it.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = Arc::new(api(home.path()));
            tokio::spawn(serve::run(OwnSocket::bind(&socket).unwrap(), api, pending()));
        });
        Self { runtime, socket, _home: home }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// Returns what a request takes. The log is written as the daemon does it, and goes nowhere: its lines are a part of the
    /// cost, as far as there are any.
    fn cost_of(&self, mut request: impl AsyncFnMut() -> bool) -> Cost {
        let own =
            Targets::new().with_targets(["keyfob_daemon", "audit"].map(|own| (own, tracing::Level::INFO)));
        let lines =
            tracing_subscriber::fmt::layer().with_writer(io::sink).with_ansi(false).with_target(false);
        let log = tracing_subscriber::registry().with(own).with(lines);
        tracing::subscriber::with_default(log, || {
            let mut run = |requests| {
                self.runtime.block_on(async {
                    for _ in 0..requests {
                        assert!(request().await, "the answer is no token");
                    }
                });
            };
            // Every table has its size afterwards, and the audit knows who asks.
            run(COUNTED);
            let mut each = || {
                let counted = measure(|| run(COUNTED));
                // To the nearest, so that it takes many allocations beside the requests to make one of each.
                let of_one = |all: u64| (all + COUNTED / 2) / COUNTED;
                Cost { allocations: of_one(counted.count_total), bytes: of_one(counted.bytes_total) }
            };
            let (measured, again) = (each(), each());
            // Not the bytes: what is read in /proc gets longer with each digit of the time that we have run for.
            assert_eq!(measured.allocations, again.allocations, "the same requests took something else");
            measured
        })
    }
}

/// Reads what there is as soon as there is something, and lets the server work until then.
async fn read(stream: &mut UnixStream, buffer: &mut [u8]) -> usize {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
            read => return read.unwrap(),
        }
    }
}

/// Tells whether an answer came in one piece and has the token: nothing else in it has as many of its letter.
fn is_token(answer: &[u8]) -> bool {
    let letters = answer.iter().filter(|byte| **byte == LETTER).count();
    answer.starts_with(b"HTTP/1.1 200 OK\r\n") && letters >= TOKEN_LENGTH
}

/// Returns an API over the account `prod`, whose token is stored.
fn api(home: &Path) -> Api {
    let config = home.join("config.toml");
    let account =
        "[accounts.prod]\nissuer = \"https://127.0.0.1:1\"\nclient_id = \"cli\"\ngrant = \"device_code\"\n";
    fs::write(&config, account).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let config = Config::read(&config, &Environment::default()).unwrap();
    let clock = Clock::system();
    let keys = Sources::of_the_system(None);
    let store =
        Store::open(&Location::of(home.join("state")), KeyChoice::Memory, keys, clock.clone()).unwrap();
    for account in &config.accounts {
        store.save(&account.name, &record(account, &clock)).unwrap();
    }
    let means = Means {
        http: Http::of(&Transport::default()),
        clock: clock.clone(),
        environment: program::Environment::from_own([]),
        flyte: Discoveries::new(home, clock.clone()),
        lessons: Lessons::default(),
    };
    let sources = Box::new(move |account: &Account| account.source(&means));
    let control = Control { orders: mpsc::channel(MAX_ORDERS).0, started_at: clock.now().wall };
    let cache = TokenCache::new(Arc::new(store), sources, clock);
    cache.apply(Registry::new(config.accounts, config.default_account));
    Api::new(cache, control, Keyrings::new(None, None))
}

fn record(account: &Account, clock: &Clock) -> Record {
    let now = clock.now().moment;
    let token = char::from(LETTER).to_string().repeat(TOKEN_LENGTH);
    let access = AccessToken::new(token.into(), now, Some(now.after(Duration::from_secs(3600)))).unwrap();
    let refresh = RefreshToken::new("refresh".into(), "https://127.0.0.1:1".to_owned());
    let tokens = TokenSet { refresh: Some(refresh), scope: Scope::parse("all"), ..TokenSet::of(access) };
    Record { generation: 1, fingerprint: account.fingerprint(), tokens, ended: None, place: Place::State }
}
