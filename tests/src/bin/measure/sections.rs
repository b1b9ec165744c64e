//! The measurements that need a daemon with one account: the shim, the socket, a stampede, instructions.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, now};
use integration_tests::process::Process;
use integration_tests::shim;

use crate::bare_hyper::BareHyper;
use crate::contender::{self, Contender};
use crate::figures::{Times, milliseconds, ratio};
use crate::load::{self, Clients, Connection, Load};
use crate::rivals::Rivals;
use crate::stage::Stage;

/// Starts of each program.
const ROUNDS: usize = 2_000;

/// Starts of programs that take long.
const SLOW_ROUNDS: usize = 20;

/// How long each load lasts, cut into slices that take turns between the servers.
const SLICE: Duration = Duration::from_secs(1);
const SLICES: usize = 3;

/// Where Debian puts it.
const VALGRIND: &str = "/usr/bin/valgrind";

/// How many tools find the token expired.
const STAMPEDE: usize = 1_000;

/// Lets the programs that print a token race from start to exit.
pub(crate) fn starts(stage: &Stage, rivals: &Rivals) {
    let floor = stage.floor();
    let mut contenders = vec![Contender::new("/bin/true (dynamic)", "/bin/true", &[])];
    contenders.extend(floor.clone());
    contenders.extend(stage.shims());
    contenders.extend(rivals.quick());
    println!("\n| start to exit, {ROUNDS} times each, by turns | median | p10 | p90 | floor × |");
    println!("|---|--:|--:|--:|--:|");
    let times = contender::race(&contenders, ROUNDS);
    let floor_median = floor
        .and_then(|floor| times.iter().find(|(name, _)| *name == floor.name).map(|(_, times)| times.at(50)));
    let row = |name: &str, times: &Times| {
        let ratio = floor_median.map(|floor| ratio(times.at(50), floor)).unwrap_or_default();
        let [median, p10, p90] = [50, 10, 90].map(|percent| milliseconds(times.at(percent)));
        println!("| {name} | {median} | {p10} | {p90} | {ratio} |");
    };
    times.iter().for_each(|(name, times)| row(name, times));
    contender::race(&rivals.slow(), SLOW_ROUNDS).iter().for_each(|(name, times)| row(name, times));
    if let Some(lookup) = rivals.lookups() {
        row("flytekit's look-up in its keyring, within a running program", &lookup);
    }
}

/// Counts the instructions of a start to its end, which nothing else on the machine changes.
pub(crate) fn instructions(stage: &Stage, rivals: &Rivals) {
    println!("\n| instructions, by callgrind | |\n|---|--:|");
    let contenders = stage.floor().into_iter().chain(stage.shims()).chain(rivals.quick());
    for contender in contenders {
        let front = [VALGRIND, "--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let Ok(mut child) = contender.command(&front).stderr(Stdio::piped()).spawn() else {
            println!("| no {VALGRIND} here | |");
            return;
        };
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        let counted = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count);
        println!("| {} | {} |", contender.name, counted.unwrap_or("not counted"));
    }
}

/// Loads the socket beside one of bare hyper.
pub(crate) fn socket(stage: &Stage) {
    let length = stage.daemon.token("prod").access_token.len();
    let hyper = BareHyper::start(&stage.daemon.home().path("run"), length);
    let sockets = [stage.socket(), hyper.socket.clone()];
    println!(
        "\n| `GET /v1/accounts/prod/token`, {} s each, by turns | requests/s | p50 | p99 | errors | bare hyper | p50 | p99 | rate / | p50 × |",
        SLICE.as_secs() * SLICES as u64
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for connection in [Connection::Fresh, Connection::Kept] {
        for count in [1, 16, 64, 1_000] {
            let clients = Clients { count, connection, account: "prod" };
            let mut loads = [Vec::new(), Vec::new()];
            for _ in 0..SLICES {
                for (socket, loads) in sockets.iter().zip(&mut loads) {
                    loads.push(load::run_apart(socket, clients, SLICE));
                }
            }
            let [ours, bare] = loads.map(Load::of_all);
            let kind = match connection {
                Connection::Fresh => "a connection for each request",
                Connection::Kept => "one connection each",
            };
            let [p50, p99] = [50, 99].map(|percent| milliseconds(ours.latencies.at(percent)));
            let [bare50, bare99] = [50, 99].map(|percent| milliseconds(bare.latencies.at(percent)));
            println!(
                "| {count} clients, {kind} | {:.0} | {p50} | {p99} | {} | {:.0} | {bare50} | {bare99} | {:.2} | {} |",
                ours.per_second,
                ours.errors,
                bare.per_second,
                ours.per_second / bare.per_second,
                ratio(ours.latencies.at(50), bare.latencies.at(50)),
            );
            assert_eq!(bare.errors, 0, "bare hyper fails");
        }
    }
}

/// Lets a thousand shims find an expired token at once.
pub(crate) fn stampede() {
    let lifetime = Duration::from_secs(11);
    let settings = Settings { access_lifetime: lifetime, rotation: Rotation::Strict, ..Settings::default() };
    let stage = Stage::set(settings);
    let old = stage.daemon.token("prod").access_token;
    eventually(SOON, "the token has expired", || !stage.issuer.honours(&old));
    let requests = || stage.issuer.ask(|ledger, _| ledger.requests("refresh_token").len());
    let before = requests();
    let start = now();
    let mut shims: Vec<Process> =
        (0..STAMPEDE).map(|_| shim::spawn(stage.daemon.home(), &["token", "prod"])).collect();
    let started = start.elapsed();
    let outputs: Vec<_> = shims.iter_mut().map(Process::wait).collect();
    let time = start.elapsed();
    let failed = outputs.iter().filter(|output| output.status != 0).count();
    let same = outputs.windows(2).all(|pair| pair[0].stdout == pair[1].stdout);
    println!(
        "\nstampede: {STAMPEDE} shims on an expired token: started within {} ms, all done after {} ms; {failed} failed; \
         {} got one and the same token; {} request(s) at the issuer",
        started.as_millis(),
        time.as_millis(),
        if same { "all" } else { "not all" },
        requests() - before
    );
}
