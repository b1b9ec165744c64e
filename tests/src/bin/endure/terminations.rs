//! the daemon is told to end while the issuer is still thinking about a renewal.
//!
//! What is on its way must arrive: the daemon waits for it, stores it and leaves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, now, rest};
use integration_tests::random::Random;

use crate::fleet::Fleet;
use crate::options::Options;
use crate::report::Report;
use crate::vault::{Standing, judge};

/// Homes beside one another: they wait more than they work.
const HOMES: u64 = 40;
/// The issuer thinks for less than this, in milliseconds.
const LONGEST_THOUGHT: u64 = 14_000;
/// The daemon is gone by then.
const LONGEST_END: Duration = Duration::from_secs(16);
/// Of such a token more life than is left can be asked for after [`DUE`], and nobody renews it before.
const LIFETIME: Duration = Duration::from_secs(60);
const DUE: Duration = Duration::from_secs(10);

/// What went on.
#[derive(Debug, Default)]
struct Tally {
    begun: AtomicU64,
    ended: Mutex<Vec<End>>,
}

/// How one daemon ended.
#[derive(Debug)]
struct End {
    status: i32,
    took: Duration,
    standing: Standing,
    /// Whether it was told before the issuer had answered.
    in_time: bool,
}

pub(crate) fn run(options: &Options) -> Report {
    let (count, tally, start) = (options.count(500), Tally::default(), now());
    thread::scope(|scope| {
        for home in 0..HOMES.min(count) {
            let tally = &tally;
            let random = Random::new(options.seed.wrapping_add(home));
            scope.spawn(move || work(count, tally, random, start));
        }
    });
    let ends = tally.ended.into_inner().unwrap();
    let number = |holds: &dyn Fn(&End) -> bool| ends.iter().filter(|end| holds(end)).count();
    let lost = number(&|end| end.standing != Standing::Kept);
    let slowest = ends.iter().map(|end| end.took).max().unwrap_or_default();
    let clean = number(&|end| end.status == 0);
    let hit = number(&|end| end.in_time);
    Report::new(
        "`SIGTERM` during a renewal that takes up to 14 s, strict rotation",
        format!("{} times, {hit} of them before the answer", ends.len()),
    )
    .lost(lost.to_string())
    .figure(format!("{clean} ended with 0, the slowest after {:.1} s", slowest.as_secs_f64()))
    .promise(
        lost == 0,
        format!("{:?}", ends.iter().filter(|end| end.standing != Standing::Kept).collect::<Vec<_>>()),
    )
    .promise(clean == ends.len(), "a daemon did not end with 0")
    .promise(slowest <= LONGEST_END, "a daemon took too long to end")
    .promise(hit * 10 >= ends.len() * 9, "most daemons had nothing to wait for")
}

/// Ends daemons in one home until there were enough.
fn work(count: u64, tally: &Tally, mut random: Random, start: Instant) {
    let settings = Settings { access_lifetime: LIFETIME, rotation: Rotation::Strict, ..Settings::default() };
    let mut fleet = Fleet::start(1, settings);
    while tally.begun.fetch_add(1, Ordering::Relaxed) < count {
        let thought = Duration::from_millis(random.below(LONGEST_THOUGHT));
        let end = end_one(&mut fleet, thought, Duration::from_millis(random.below(200)));
        let mut ended = tally.ended.lock().unwrap();
        ended.push(end);
        if ended.len().is_multiple_of(20) {
            eprintln!(
                "{:>5} s: {} of {count}, the latest {:?}",
                start.elapsed().as_secs(),
                ended.len(),
                ended.last()
            );
        }
        drop(ended);
        fleet.daemon.start_again();
    }
}

/// Ends the daemon during one renewal.
fn end_one(fleet: &mut Fleet, thought: Duration, patience: Duration) -> End {
    eventually(SOON, "a renewal is due", || fleet.ages().iter().all(|(_, age)| *age > DUE));
    let requests = |fleet: &Fleet| fleet.issuer.ask(|ledger, _| ledger.requests("refresh_token").len());
    let before = requests(fleet);
    fleet.issuer.break_next(1, Endpoint::Token, Point::BeforeReply, Fault::Delay(thought));
    // The issuer replaces the refresh token, and then takes its time.
    eventually(SOON, "a renewal is under way", || {
        drop(fleet.ask("a0", "min_ttl=86400&wait=0"));
        requests(fleet) > before
    });
    rest(patience.min(thought / 2));
    let in_time = fleet.issuer.token_requests_under_way() > 0;
    let told = now();
    let output = fleet.daemon.stop();
    let took = told.elapsed();
    let standing = judge(&fleet.issuer, fleet.daemon.home(), &fleet.accounts)["a0"];
    End { status: output.status, took, standing, in_time }
}
