//! S-12: hours of short-lived tokens and of an issuer on a bad day, with clients that ask all the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::issuer::fault::Endpoint;
use integration_tests::issuer::mix::Mix;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{now, rest};
use keyfob_protocol::token::TokenResponse;

use crate::fleet::{Fleet, expiry};
use crate::options::{GRACE, Options};
use crate::report::Report;
use crate::vault::{Standing, judge};
use integration_tests::vitals::{Vitals, slope};

const LIFETIME: Duration = Duration::from_secs(30);
const ACCOUNTS: usize = 20;
const CLIENTS: usize = 20;
/// The share of token requests that something happens to, in percent.
const FAULTS: u64 = 5;
/// Between two questions of one client.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_secs(10);
/// How long the accounts may take to renew once more when all is well again.
const SETTLING: Duration = Duration::from_secs(90);

/// What the clients met.
#[derive(Default)]
struct Met {
    answers: AtomicUsize,
    /// Errors, and among them those while the last token still worked.
    errors: AtomicUsize,
    early: AtomicUsize,
    /// Tokens that no server would have taken.
    dead: AtomicUsize,
}

pub(crate) fn run(options: &Options) -> Report {
    let fleet = Fleet::start(
        options.accounts(ACCOUNTS),
        Settings { access_lifetime: LIFETIME, rotation: Rotation::Grace(GRACE), ..Settings::default() },
    );
    fleet.issuer.break_some(Endpoint::Token, Mix::of_a_bad_day(options.seed, FAULTS));
    let (met, over) = (Met::default(), AtomicBool::new(false));
    let start = now();
    let looks = thread::scope(|scope| {
        for client in 0..CLIENTS {
            let account = &fleet.accounts[client % fleet.accounts.len()];
            let (fleet, met, over) = (&fleet, &met, &over);
            scope.spawn(move || poll(fleet, account, met, over));
        }
        let looks = watch(&fleet, &met, start, options.time(60));
        over.store(true, Ordering::Relaxed);
        looks
    });
    fleet.issuer.mend();
    conclude(fleet, &met, &looks, start.elapsed())
}

/// Asks for a token until the end.
fn poll(fleet: &Fleet, account: &str, met: &Met, over: &AtomicBool) {
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    let mut last_until = None;
    while !over.load(Ordering::Relaxed) {
        match fleet.ask(account, "") {
            Some(response) if response.status == 200 => {
                count(&met.answers);
                let token = response.json::<TokenResponse>();
                last_until = expiry(&token);
                if !fleet.issuer.honours(&token.access_token) {
                    count(&met.dead);
                }
            }
            failed => {
                count(&met.errors);
                eprintln!("{account}: {failed:?}");
                if last_until.is_some_and(|until| now() < until) {
                    count(&met.early);
                }
            }
        }
        rest(PAUSE);
    }
}

/// Looks at the daemon all the time, and has it read its configuration again now and then.
fn watch(fleet: &Fleet, met: &Met, start: Instant, time: Duration) -> Vec<(Duration, Vitals)> {
    let mut looks = Vec::new();
    while start.elapsed() < time {
        rest(LOOK);
        let vitals = Vitals::of(fleet.daemon.process().id());
        looks.push((start.elapsed(), vitals));
        if looks.len().is_multiple_of(6) {
            assert_eq!(fleet.daemon.reload().status, 200);
            let renewals = fleet.issuer.ask(|ledger, _| ledger.requests("refresh_token").len());
            eprintln!(
                "{:>5} s: {renewals} renewals asked for, {} answers, {} errors, {} KiB, {} descriptors, signed out: {:?}",
                start.elapsed().as_secs(),
                met.answers.load(Ordering::Relaxed),
                met.errors.load(Ordering::Relaxed),
                vitals.resident,
                vitals.descriptors,
                fleet.signed_out(),
            );
        }
    }
    looks
}

fn conclude(mut fleet: Fleet, met: &Met, looks: &[(Duration, Vitals)], time: Duration) -> Report {
    let out = fleet.settle(SETTLING);
    assert_eq!(fleet.daemon.stop().status, 0, "{}", fleet.daemon.log());
    let standings = judge(&fleet.issuer, fleet.daemon.home(), &fleet.accounts);
    let lost = standings.values().filter(|standing| **standing != Standing::Kept).count();
    let (renewals, late) = fleet
        .issuer
        .ask(|ledger, _| (ledger.requests("refresh_token").len(), ledger.replayed_outside(GRACE)));
    let resident: Vec<(Duration, u64)> = looks.iter().map(|(at, look)| (*at, look.resident)).collect();
    let (whole, half) = (slope(&resident), slope(&resident[resident.len() / 2..]));
    // A client's connection comes and goes: what is open in a quiet moment must stay the same.
    let quarter = (looks.len() / 4).max(1);
    let fewest =
        |looks: &[(Duration, Vitals)]| looks.iter().map(|(_, look)| look.descriptors).min().unwrap_or(0);
    let (before, after) = (fewest(&looks[..quarter]), fewest(&looks[looks.len() - quarter..]));
    let load = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let minutes = time.as_secs() / 60;
    Report::new(
        format!("soak: tokens of 30 s, {FAULTS} % of token requests disturbed, 10 s of grace"),
        format!("{minutes} min, {} accounts, {CLIENTS} clients, {renewals} renewals", fleet.accounts.len()),
    )
    .lost(lost.to_string())
    .figure(format!(
        "{} answers, {} errors, {} of them early",
        load(&met.answers),
        load(&met.errors),
        load(&met.early)
    ))
    .figure(format!(
        "resident {} to {} KiB, {half:+.2} MiB/h in the second half, {whole:+.2} over all",
        resident.first().map_or(0, |(_, kib)| *kib),
        resident.last().map_or(0, |(_, kib)| *kib)
    ))
    .figure(format!("descriptors {before} to {after}"))
    .figure(format!("{late} replays after the grace"))
    .promise(lost == 0 && out.is_empty(), format!("lost: {standings:?}, signed out: {out:?}"))
    .promise(late == 0, "a refresh token was presented after the grace")
    .promise(load(&met.early) == 0, "an error while the access token lived")
    .promise(load(&met.dead) == 0, format!("{} tokens served that were dead", load(&met.dead)))
    .promise(half < 1.0, "memory grows by a MiB in an hour or faster")
    .promise(before == after, "descriptors are not constant")
}
