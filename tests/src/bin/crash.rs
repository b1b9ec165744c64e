//! `cargo run -p integration-tests --bin crash -- 100`: kills keyfobd so often at each of the twelve steps of a rotation, with
//! an issuer that leaves refresh tokens in force, one that replaces them with a grace of ten seconds, and a strict one.
//!
//! It ends with a failure where a login was lost that need not be, or was lost and not said to be.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use integration_tests::crash::{self, IN_MEMORY_ALONE, Tally};
use integration_tests::issuer::settings::Rotation;
use integration_tests::programs;

/// The grace that many issuers give.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Some(Ok(rounds @ 1..)) = std::env::args().nth(1).map(|rounds| rounds.parse::<usize>()) else {
        println!("how often at each step? such as: crash 100");
        return ExitCode::from(2);
    };
    programs::with_failpoints();
    let modes =
        [("none", Rotation::Repeated), ("grace 10 s", Rotation::Grace(GRACE)), ("strict", Rotation::Strict)];
    let tallies = thread::scope(|scope| {
        let running = modes.map(|(_, rotation)| scope.spawn(move || crash::at_every_step(rotation, rounds)));
        running.map(|mode| mode.join().expect("every step was gone through"))
    });
    println!(
        "{:<12}{:<6}{:>8}{:>8}{:>10}{:>20}",
        "rotation", "step", "kills", "lost", "said so", "replays of a token"
    );
    let mut is_kept = true;
    for ((name, rotation), tallies) in modes.iter().zip(&tallies) {
        for tally in tallies {
            let Tally { step, kills, lost, reported, replays } = tally;
            println!("{name:<12}{step:<6}{kills:>8}{lost:>8}{reported:>10}{replays:>20}");
            let may_lose = *rotation == Rotation::Strict && IN_MEMORY_ALONE.contains(step);
            is_kept &= (*lost == 0 || may_lose) && lost == reported && *replays <= 1;
        }
    }
    let total = |count: fn(&Tally) -> usize| tallies.iter().flatten().map(count).sum::<usize>();
    println!(
        "in all: {} kills, {} logins lost, {} of them said to be",
        total(|it| it.kills),
        total(|it| it.lost),
        total(|it| it.reported)
    );
    if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
