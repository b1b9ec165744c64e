//! two daemons and fifty shims that may start one are started at once, when a renewal is due. In two rounds of three
//! another program holds the lock for a while, or replaces its file all the time.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, now};
use integration_tests::process::{Output, Process};
use integration_tests::shim;
use rustix::net::sockopt::socket_peercred;

use crate::fleet::Fleet;
use crate::options::{GRACE, Options};
use crate::report::Report;
use crate::stranger::Stranger;
use crate::vault::{Standing, is_free, judge};

const SHIMS: usize = 50;
/// Homes that take turns: each renews every ten seconds at most.
const HOMES: usize = 12;
/// Such a token is renewed when somebody asks for it, and has expired when its home's turn comes again.
const LIFETIME: Duration = Duration::from_secs(10);
const DUE: Duration = Duration::from_millis(10_500);

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    /// Shims that got no token.
    shims_failed: Vec<Output>,
    /// Races that both daemons won, or none of ours and none of a shim's.
    disputed: usize,
    /// Daemons that left with something else than 0 and a clear line.
    unclear: Vec<Output>,
    tokens_differ: usize,
    /// Races in which another number of renewals was made than one.
    renewals_differ: usize,
}

pub(crate) fn run(options: &Options) -> Report {
    let (count, start, mut tally) = (options.count(500), now(), Tally::default());
    let mut fleets: Vec<Fleet> = (0..HOMES)
        .map(|_| {
            let settings = Settings {
                access_lifetime: LIFETIME,
                rotation: Rotation::Grace(GRACE),
                ..Settings::default()
            };
            let mut fleet = Fleet::start(1, settings);
            assert_eq!(fleet.daemon.stop().status, 0);
            fleet
        })
        .collect();
    for round in 0..usize::try_from(count).expect("a number of rounds") {
        let fleet = &mut fleets[round % HOMES];
        race(fleet, Stranger::of(round), &mut tally);
        if round % 20 == 19 {
            eprintln!(
                "{:>5} s: {} races, {} shims failed, {} disputed, {} unclear, {} with another number of renewals",
                start.elapsed().as_secs(),
                round + 1,
                tally.shims_failed.len(),
                tally.disputed,
                tally.unclear.len(),
                tally.renewals_differ
            );
        }
    }
    let most =
        fleets.iter().map(|fleet| fleet.issuer.ask(|ledger, _| ledger.max_concurrent_token_requests)).max();
    let standings =
        fleets.iter().map(|fleet| judge(&fleet.issuer, fleet.daemon.home(), &fleet.accounts)["a0"]);
    let lost = standings.filter(|standing| *standing != Standing::Kept).count();
    report(count, &tally, most.unwrap_or(0), lost)
}

fn report(count: u64, tally: &Tally, most: usize, lost: usize) -> Report {
    Report::new(
        format!("2 daemons and {SHIMS} shims started at once, a renewal due, another program at the lock"),
        format!("{count} times"),
    )
    .lost(lost.to_string())
    .figure(format!("{most} request at a time at the issuer at most"))
    .figure(format!("{} races with another number of renewals than 1", tally.renewals_differ))
    .figure(format!("{} of {} shims without a token", tally.shims_failed.len(), count * SHIMS as u64))
    .promise(lost == 0, "a login was lost")
    .promise(most == 1, "two requests at a time")
    .promise(tally.disputed == 0, format!("{} races without one winner", tally.disputed))
    .promise(tally.renewals_differ == 0, "one renewal was not enough")
    .promise(tally.tokens_differ == 0, format!("{} races with several tokens", tally.tokens_differ))
    .promise(tally.unclear.is_empty(), format!("{:?}", tally.unclear.first()))
    .promise(tally.shims_failed.is_empty(), format!("{:?}", tally.shims_failed.first()))
}

fn race(fleet: &mut Fleet, stranger: Stranger, tally: &mut Tally) {
    eventually(SOON, "a renewal is due", || fleet.ages().iter().all(|(_, age)| *age > DUE));
    let requests = |fleet: &Fleet| fleet.issuer.ask(|ledger, _| ledger.requests("refresh_token").len());
    let before = requests(fleet);
    let home = fleet.daemon.home();
    let (daemons, outputs) = stranger.beside(home, || {
        let first = home.spawn("keyfobd", &[]);
        let mut shims: Vec<Process> = (0..SHIMS / 2).map(|_| shim::spawn(home, &["token", "a0"])).collect();
        let second = home.spawn("keyfobd", &[]);
        shims.extend((0..SHIMS / 2).map(|_| shim::spawn(home, &["token", "a0"])));
        let outputs: Vec<Output> = shims.iter_mut().map(Process::wait).collect();
        ([first, second], outputs)
    });
    let (good, bad): (Vec<Output>, Vec<Output>) = outputs.into_iter().partition(|output| output.status == 0);
    tally.tokens_differ += usize::from(good.windows(2).any(|pair| pair[0].stdout != pair[1].stdout));
    tally.shims_failed.extend(bad);
    tally.renewals_differ += usize::from(requests(fleet) != before + 1);
    finish(fleet, daemons, tally);
}

/// Ends whichever daemon serves, and looks at how the others left.
fn finish(fleet: &Fleet, mut daemons: [Process; 2], tally: &mut Tally) {
    let home = fleet.daemon.home();
    let is_loser = |output: &Output| output.status == 0 && output.stderr.contains("answers at");
    let mut winners = 0;
    let mut ended = Vec::new();
    for daemon in &mut daemons {
        // A loser may still be looking whether the winner answers.
        let mut output = None;
        eventually(SOON, "a daemon serves or leaves", || {
            output = daemon.ended();
            output.is_some() || serves(fleet, daemon.id())
        });
        match output {
            Some(output) => ended.push(output),
            None => winners += 1,
        }
    }
    tally.unclear.extend(ended.into_iter().filter(|output| !is_loser(output)));
    let is_disputed = winners > 1 || fleet.daemon.try_api("GET", "/healthz").is_none();
    tally.disputed += usize::from(is_disputed);
    let stopped = shim::run(home, &["stop"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    eventually(SOON, "the daemon has left", || {
        fleet.daemon.try_api("GET", "/healthz").is_none() && is_free(fleet.daemon.home())
    });
    for daemon in &mut daemons {
        daemon.wait();
    }
}

/// Tells whether the process is the one that listens.
fn serves(fleet: &Fleet, pid: u32) -> bool {
    let Ok(stream) = UnixStream::connect(fleet.daemon.home().socket()) else { return false };
    socket_peercred(&stream).is_ok_and(|peer| peer.pid.as_raw_nonzero().get().unsigned_abs() == pid)
}
