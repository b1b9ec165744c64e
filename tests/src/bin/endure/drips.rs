//! C-7: two thousand connections send a byte a second, and somebody else wants tokens.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::callers;
use integration_tests::http::{self, Request};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{now, rest};
use integration_tests::process::raise_descriptor_limit;

use crate::fleet::Fleet;
use crate::options::{GRACE, Options};
use crate::report::Report;

/// How long one client's requests are timed, alone and beside the others.
const TIMED: Duration = Duration::from_secs(4);
const DRIP: Duration = Duration::from_secs(1);
/// What the daemon gives a request, and how much later it may cut one off that has had its time.
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);
/// How much later a drip notices: with its next byte.
const NOTICED: Duration = Duration::from_millis(1_500);

pub(crate) fn run(options: &Options) -> Report {
    raise_descriptor_limit();
    let count = usize::try_from(options.count(2_000)).expect("a number of connections");
    let fleet = Fleet::start(1, Settings { rotation: Rotation::Grace(GRACE), ..Settings::default() });
    let socket = fleet.daemon.home().socket();
    let alone = timed(&socket);
    let start = now();
    let dripping = callers::connect(&socket, count);
    let connected = start.elapsed();
    let drips = thread::spawn(move || drip(dripping, start));
    let beside = timed(&socket);
    let (last, left) = drips.join().expect("the drips end");
    Report::new("connections that send a byte a second", count.to_string())
        .figure(format!(
            "p99 of one client's requests {} µs alone, {} µs beside them",
            p99(&alone),
            p99(&beside)
        ))
        .figure(format!(
            "connected after {} ms, all cut off after {:.1} s",
            connected.as_millis(),
            last.as_secs_f64()
        ))
        .promise(!alone.is_empty() && !beside.is_empty(), "nobody was answered")
        .promise(p99(&beside) <= 2 * p99(&alone), "they double the time of others")
        .promise(left == 0, format!("{left} were not cut off"))
        .promise(last <= connected + PATIENCE + TICK + NOTICED, "they were cut off late")
}

/// Sends a byte a second on each, and returns when the last one was cut off, and how many never were.
fn drip(mut dripping: Vec<UnixStream>, start: Instant) -> (Duration, usize) {
    let mut last = Duration::ZERO;
    while !dripping.is_empty() && start.elapsed() < 3 * PATIENCE {
        dripping.retain_mut(|stream| {
            let is_open = match stream.write_all(b"G") {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
            if !is_open {
                last = start.elapsed();
            }
            is_open
        });
        rest(DRIP);
    }
    (last, dripping.len())
}

/// Asks for tokens one after the other, each on a connection of its own, and returns the microseconds of each.
fn timed(socket: &Path) -> Vec<u128> {
    let request = Request { method: "GET", path: "/v1/accounts/a0/token", headers: &[], body: "" };
    let (start, mut times) = (now(), Vec::new());
    while start.elapsed() < TIMED {
        let asked = now();
        let answer = http::over_socket(socket, &request).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(asked.elapsed().as_micros());
    }
    times.sort_unstable();
    times
}

fn p99(times: &[u128]) -> u128 {
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}
