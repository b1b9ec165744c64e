//! `keyfobd` once more, with fail points, under a name of its own: so that it never lies where the real one should be.

use std::process::ExitCode;

#[path = "../main.rs"]
mod keyfobd;

fn main() -> ExitCode {
    keyfobd::main()
}
