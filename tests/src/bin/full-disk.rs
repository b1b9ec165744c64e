//! `cargo run -p integration-tests --bin full-disk -- 500`: fills the disk of a daemon so often, at every step of a login and
//! of a renewal, with every amount of space left, and ends with a failure where that costs anything.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::process::ExitCode;

use integration_tests::full_disk;

fn main() -> ExitCode {
    let Some(Ok(rounds @ 1..)) = std::env::args().nth(1).map(|rounds| rounds.parse::<usize>()) else {
        println!("how often? such as: full-disk 500");
        return ExitCode::from(2);
    };
    full_disk::rounds(rounds);
    println!(
        "filled the disk {rounds} times: 0 logins lost, 0 refresh tokens presented twice, everything on disk again"
    );
    ExitCode::SUCCESS
}
