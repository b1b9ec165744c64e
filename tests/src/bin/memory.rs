//! `cargo run --release -p integration-tests --bin memory`: counts the copies of secrets in the memory of a daemon while a
//! login is there, and after it was ended, and says where they are.
//!
//! The issuer has TLS, so that buffers of TLS count as well. It ends with a failure where a refresh token, or its key, is in
//! memory after a logout.

#![expect(clippy::print_stdout, reason = "the figures go to standard output")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use integration_tests::canary::{CLIENT, Canary, LOGINS};
use integration_tests::memory::{self, Found, Marked, Place};

/// What must not be there any more after a logout.
const GONE: [&str; 3] = ["refresh token", "spent refresh token", "DPoP key"];

const KINDS: [&str; 11] = [
    "refresh token",
    "spent refresh token",
    "DPoP key",
    "store key",
    "store key (hexadecimal)",
    "access token",
    "ID token",
    "client secret",
    "device code",
    "authorization code",
    "PKCE verifier",
];

fn main() -> ExitCode {
    let canary = Canary::sing();
    let secrets = canary.secrets();
    let signed_in = look(&canary, &secrets);
    for account in LOGINS.into_iter().chain([CLIENT]) {
        canary.daemon.api("DELETE", &format!("/v1/accounts/{account}/session"));
    }
    let logged_out = look(&canary, &secrets);
    table(&[("signed in", &signed_in), ("after logout", &logged_out)]);
    let left: Vec<_> = GONE.into_iter().filter(|kind| memory::copies(&logged_out, kind) > 0).collect();
    for kind in &left {
        println!("LEFT: {kind}");
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look(canary: &Canary, secrets: &[Marked]) -> Found {
    // What is done with answers after they have been sent is done by then.
    canary.daemon.api("GET", "/v1/accounts");
    memory::search(canary.daemon.process().id(), secrets)
}

/// Prints a row for each kind, with the copies by time and place.
fn table(looks: &[(&str, &Found)]) {
    let titles: Vec<_> = looks.iter().map(|(title, _)| *title).collect();
    println!("| copies in memory | {} |\n|---|{}", titles.join(" | "), "---|".repeat(looks.len()));
    for kind in KINDS {
        let cells: Vec<_> =
            looks.iter().map(|(_, found)| found.get(kind).map_or("0".to_owned(), told)).collect();
        println!("| {kind} | {} |", cells.join(" | "));
    }
}

fn told(places: &BTreeMap<Place, usize>) -> String {
    let told: Vec<_> = places
        .iter()
        .map(|(place, count)| {
            let name = match place {
                Place::Locked => "locked",
                Place::Heap => "heap",
                Place::Stack => "stack",
                Place::Elsewhere => "elsewhere",
            };
            format!("{count} {name}")
        })
        .collect();
    told.join(", ")
}
