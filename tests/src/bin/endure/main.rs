//! Runs what takes too long for a test, and counts: kills, faults, outages, races. The issuer's ledger is the judge.
//!
//! Each run ends with a row for the README, and with a failure where a promise was broken. The thing to get wrong: a run
//! in which nothing was at stake proves nothing, so each also says how often it hit a renewal that was under way.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a run that cannot go on proves nothing")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures go to standard output")]

mod connects;
mod drips;
mod fleet;
mod idle;
mod kills;
mod machine;
mod options;
mod outage;
mod races;
mod report;
mod soak;
mod starts;
mod stranger;
mod terminations;
mod vault;

use std::process::ExitCode;

use options::{Options, Run};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("endure: {mistake}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    eprintln!("{:?} with seed {} on {}", options.run, options.seed, machine::describe());
    let report = match options.run {
        Run::Kills => kills::run(&options),
        Run::Soak => soak::run(&options),
        Run::Outage => outage::run(&options),
        Run::Terminations => terminations::run(&options),
        Run::Races => races::run(&options),
        Run::Starts => starts::run(&options),
        Run::Connects => connects::run(&options),
        Run::Drips => drips::run(&options),
        Run::Idle => idle::run(&options),
    };
    report.print()
}
