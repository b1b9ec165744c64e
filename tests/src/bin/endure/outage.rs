//! S-3: the issuer is down for a while, in real time, and many clients go on asking.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{now, rest};
use keyfob_protocol::token::TokenResponse;

use crate::fleet::{Fleet, expiry};
use crate::options::{GRACE, Options};
use crate::report::Report;
use crate::vault::{Standing, judge};

const LIFETIME: Duration = Duration::from_secs(20);
const CLIENTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(200);
/// Before the outage and after it.
const FAIR: Duration = Duration::from_secs(15);
/// How soon after the end of the outage a client that waits has a token.
const PROMPT: Duration = Duration::from_secs(5);
const SETTLING: Duration = Duration::from_secs(90);

/// What the clients met.
struct Met {
    answers: AtomicUsize,
    errors: AtomicUsize,
    early: AtomicUsize,
    /// The end of the outage, and when the first and the last client had a good token after it.
    mended: Mutex<Option<Instant>>,
    recovered: Mutex<Vec<Duration>>,
    over: AtomicBool,
}

pub(crate) fn run(options: &Options) -> Report {
    let accounts = options.accounts(1);
    let fleet = Fleet::start(
        accounts,
        Settings { access_lifetime: LIFETIME, rotation: Rotation::Grace(GRACE), ..Settings::default() },
    );
    let met = Met {
        answers: AtomicUsize::new(0),
        errors: AtomicUsize::new(0),
        early: AtomicUsize::new(0),
        mended: Mutex::new(None),
        recovered: Mutex::new(Vec::new()),
        over: AtomicBool::new(false),
    };
    let time = options.time(3);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let account = &fleet.accounts[client % accounts];
            let (fleet, met) = (&fleet, &met);
            scope.spawn(move || poll(fleet, account, met));
        }
        rest(FAIR);
        break_down(&fleet, &met, time);
        rest(FAIR);
        met.over.store(true, Ordering::Relaxed);
    });
    conclude(fleet, &met, time)
}

/// Lets the issuer be down for a time.
fn break_down(fleet: &Fleet, met: &Met, time: Duration) {
    let start = now();
    fleet.issuer.go_down();
    while start.elapsed() < time {
        rest(Duration::from_secs(10).min(time.saturating_sub(start.elapsed())));
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        eprintln!(
            "{:>5} s of outage: {} answers, {} errors, {} of them early",
            start.elapsed().as_secs(),
            count(&met.answers),
            count(&met.errors),
            count(&met.early)
        );
    }
    *met.mended.lock().unwrap() = Some(now());
    fleet.issuer.come_back();
}

/// Asks for a token until the end.
fn poll(fleet: &Fleet, account: &str, met: &Met) {
    let (mut last_until, mut is_recovered) = (None, false);
    while !met.over.load(Ordering::Relaxed) {
        match fleet.ask(account, "") {
            Some(response) if response.status == 200 => {
                met.answers.fetch_add(1, Ordering::Relaxed);
                let token = response.json::<TokenResponse>();
                last_until = expiry(&token);
                let mended = *met.mended.lock().unwrap();
                if let Some(mended) =
                    mended.filter(|_| !is_recovered && fleet.issuer.honours(&token.access_token))
                {
                    is_recovered = true;
                    met.recovered.lock().unwrap().push(mended.elapsed());
                }
            }
            Some(_) | None => {
                met.errors.fetch_add(1, Ordering::Relaxed);
                if last_until.is_some_and(|until| now() < until) {
                    met.early.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        rest(PAUSE);
    }
}

fn conclude(mut fleet: Fleet, met: &Met, time: Duration) -> Report {
    let out = fleet.settle(SETTLING);
    assert_eq!(fleet.daemon.stop().status, 0, "{}", fleet.daemon.log());
    let standings = judge(&fleet.issuer, fleet.daemon.home(), &fleet.accounts);
    let lost = standings.values().filter(|standing| **standing != Standing::Kept).count();
    let recovered = met.recovered.lock().unwrap();
    let first = recovered.iter().min().copied().unwrap_or_default();
    let last = recovered.iter().max().copied().unwrap_or_default();
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    Report::new(
        "the issuer is down, tokens of 20 s",
        format!("{} min, {CLIENTS} clients, {} accounts", time.as_secs() / 60, fleet.accounts.len()),
    )
    .lost(lost.to_string())
    .figure(format!("{} errors before the token expired", count(&met.early)))
    .figure(format!(
        "after the outage the first client had a token in {:.1} s, the last of {} in {:.1} s",
        first.as_secs_f64(),
        recovered.len(),
        last.as_secs_f64()
    ))
    .promise(lost == 0 && out.is_empty(), format!("lost: {standings:?}, signed out: {out:?}"))
    .promise(count(&met.early) == 0, "an error while the access token lived")
    .promise(count(&met.errors) > 0, "the outage was too short to be felt")
    .promise(recovered.len() == CLIENTS, "some clients got no token after the outage")
    .promise(first <= PROMPT, "the first token after the outage came too late")
}
