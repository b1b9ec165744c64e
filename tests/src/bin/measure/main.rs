//! Measures what people wait for, and what keyfob takes of their machine, beside what others take and the least there can be.
//!
//! Timing is never a test: it depends on the machine and on what else it does. So everything that is compared runs by
//! turns, in one run, and each figure comes with its spread.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has no figure")]
#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

mod bare_hyper;
mod contender;
mod figures;
mod load;
mod many;
mod rivals;
mod sections;
mod stage;
mod storm;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use integration_tests::issuer::settings::Settings;
use integration_tests::programs;

use rivals::Rivals;
use stage::Stage;

/// How many accounts there are in the runs that compare numbers of them.
const NUMBERS: [usize; 3] = [1, 100, 10_000];

/// What can be measured, by name.
const SECTIONS: [&str; 6] = ["starts", "instructions", "socket", "stampede", "accounts", "storm"];

const USAGE: &str = "usage: measure [--pizauth PATH] [starts|instructions|socket|stampede|accounts|storm]...";

#[expect(clippy::print_stderr, reason = "for whoever mistypes")]
fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The parts that this program plays for itself.
    match arguments.as_slice() {
        [role, socket, length] if role == bare_hyper::ROLE => {
            bare_hyper::serve(socket, length);
            return ExitCode::SUCCESS;
        }
        [role, rest @ ..] if role == load::ROLE => {
            load::be_clients(rest);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let pizauth = match arguments.iter().position(|argument| argument == "--pizauth") {
        Some(at) if at + 1 < arguments.len() => {
            let path = arguments.remove(at + 1);
            arguments.remove(at);
            Some(PathBuf::from(path))
        }
        Some(_) | None => None,
    };
    if let Some(unknown) = arguments.iter().find(|argument| SECTIONS.iter().all(|name| argument != name)) {
        eprintln!("measure: what is {}?\n{USAGE}", unknown.display());
        return ExitCode::from(2);
    }
    let wants = |section: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == section);
    sizes();
    if ["starts", "instructions", "socket"].into_iter().any(wants) {
        let stage = Stage::set(Settings::default());
        if ["starts", "instructions"].into_iter().any(wants) {
            let rivals = Rivals::start(pizauth);
            if wants("starts") {
                sections::starts(&stage, &rivals);
            }
            if wants("instructions") {
                sections::instructions(&stage, &rivals);
            }
        }
        if wants("socket") {
            sections::socket(&stage);
        }
    }
    if wants("stampede") {
        sections::stampede();
    }
    if wants("accounts") {
        many::measure(&NUMBERS);
    }
    if wants("storm") {
        storm::measure();
    }
    ExitCode::SUCCESS
}

/// Says how large the programs are.
fn sizes() {
    let directory = programs::directory();
    let programs = [
        ("keyfobd", directory.join("keyfobd")),
        ("keyfob, dynamic", directory.join("keyfob")),
        ("keyfob, static", directory.join("../x86_64-unknown-linux-musl/shim/keyfob")),
    ];
    println!("| program | size |\n|---|--:|");
    for (name, path) in programs {
        if let Ok(metadata) = std::fs::metadata(path) {
            println!("| {name} | {:.1} MiB |", metadata.len() as f64 / (1024.0 * 1024.0));
        }
    }
}
