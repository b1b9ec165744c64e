//! the daemon is killed again and again at random times, while it renews as fast as it may.
//!
//! One account renews every ten seconds at most, so there are enough of them for renewals to be under way at nearly every
//! kill. How many kills hit one is part of the figures.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use integration_tests::issuer::fault::{Endpoint, Fault, Point};
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{now, rest};
use integration_tests::random::Random;

use crate::fleet::Fleet;
use crate::options::{Options, Said, told};
use crate::report::Report;
use crate::vault::{self, Left, Leftovers, Standing, judge};

const ACCOUNTS: usize = 300;
const LIFETIME: Duration = Duration::from_secs(2);
/// The issuer thinks for as long as this, so that the time between the spending of a token and its successor's arrival
/// is there to be hit.
const LATENCY: Duration = Duration::from_millis(5);
/// A kill comes within this time after the daemon has begun to answer.
const SPREAD: Duration = Duration::from_millis(80);
/// A renewal is asked for no sooner after the last: the daemon would refuse.
const DUE: Duration = Duration::from_secs(10);
/// Renewals that are asked for after each start, at most: four are under way at a time.
const ASKED: usize = 8;
/// Signed-out accounts that are logged in together, for a login takes a second.
const BATCH: usize = 20;
/// How long the accounts may take to renew once more after the last kill.
const SETTLING: Duration = Duration::from_secs(90);

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Kills during a renewal: a request was at the issuer, or a journal was left behind.
    hits: u64,
    /// Kills after which nobody can tell whether a refresh token was spent: it was about to be sent, and no answer was
    /// on disk.
    in_window: u64,
    /// Kills after which the answer was in the journal.
    answered: u64,
    /// What the latest kill left: the next one may find it still there.
    left: Leftovers,
    /// Accounts that asked for a person, by the state that they said they were in and by how they stood.
    demands: BTreeMap<(String, &'static str), u64>,
}

pub(crate) fn run(options: &Options) -> Report {
    let count = options.count(10_000);
    let mut fleet = Fleet::start_with(
        options.accounts(ACCOUNTS),
        Settings { access_lifetime: LIFETIME, rotation: options.rotation, ..Settings::default() },
        options.said,
    );
    fleet.issuer.break_every(Endpoint::Token, Point::BeforeReply, Fault::Delay(LATENCY));
    let (mut random, mut tally) = (Random::new(options.seed), Tally::default());
    let mut out = BTreeMap::<String, String>::new();
    let mut asked = BTreeMap::<String, Option<SystemTime>>::new();
    let start = now();
    fleet.daemon.kill();
    while tally.kills < count {
        // A store that does not open ends the run here.
        fleet.daemon.start_again();
        asked.retain(|name, stored| !out.contains_key(name) && *stored == stored_at(&fleet, name));
        live(&fleet, &mut asked, &out, &mut random);
        let new: Vec<(String, String)> = match tally.kills % 10 {
            0 => fleet.signed_out().into_iter().filter(|(name, _)| !out.contains_key(name)).collect(),
            _ => Vec::new(),
        };
        kill(&mut fleet, &mut tally);
        blame(&fleet, new, &mut out, &mut tally);
        if out.len() >= BATCH {
            fleet.daemon.start_again();
            fleet.log_in(&out.keys().cloned().collect::<Vec<_>>());
            fleet.daemon.kill();
            out.clear();
        }
        tell(&tally, start);
    }
    conclude(fleet, options, tally, start)
}

/// Has some accounts renew, for a random time: first those that were asked before and have stored nothing since, then
/// some that are due.
fn live(
    fleet: &Fleet,
    asked: &mut BTreeMap<String, Option<SystemTime>>,
    out: &BTreeMap<String, String>,
    random: &mut Random,
) {
    let spread = u64::try_from(SPREAD.as_micros()).expect("a moment");
    let (begun, time) = (now(), Duration::from_micros(random.below(spread)));
    let is_due =
        |(name, age): &(String, Duration)| *age > DUE && !out.contains_key(name) && !asked.contains_key(name);
    let mut due: Vec<String> = fleet.ages().into_iter().filter(is_due).map(|(name, _)| name).collect();
    let mut names: Vec<String> = asked.keys().cloned().collect();
    while names.len() < ASKED && !due.is_empty() {
        names.push(due.swap_remove(random.below(due.len() as u64) as usize));
    }
    for name in names {
        if begun.elapsed() >= time {
            return;
        }
        asked.entry(name.clone()).or_insert_with(|| stored_at(fleet, &name));
        // It is not waited for; and nobody may be there any more who answers.
        drop(fleet.ask(&name, "wait=0"));
    }
    rest(time.saturating_sub(begun.elapsed()));
}

/// Returns when the tokens of an account were stored last.
fn stored_at(fleet: &Fleet, account: &str) -> Option<SystemTime> {
    let file = fleet.daemon.home().path(&format!("state/keyfob/accounts/{account}.sealed"));
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

fn kill(fleet: &mut Fleet, tally: &mut Tally) {
    let at_issuer = fleet.issuer.token_requests_under_way() > 0;
    fleet.daemon.kill();
    let left = vault::left(fleet.daemon.home());
    let is_new =
        |wanted: Left| left.iter().any(|(name, of)| of.1 == wanted && tally.left.get(name) != Some(of));
    let (in_window, answered) = (is_new(Left::Unanswered), is_new(Left::Answered));
    tally.kills += 1;
    tally.hits += u64::from(at_issuer || in_window || answered);
    tally.in_window += u64::from(in_window);
    tally.answered += u64::from(answered);
    tally.left = left;
}

/// Finds out how the accounts stand that have begun to ask for a person.
fn blame(fleet: &Fleet, new: Vec<(String, String)>, out: &mut BTreeMap<String, String>, tally: &mut Tally) {
    if new.is_empty() {
        return;
    }
    let names: Vec<String> = new.iter().map(|(name, _)| name.clone()).collect();
    let standings = judge(&fleet.issuer, fleet.daemon.home(), &names);
    for (name, state) in new {
        let standing = match standings[&name] {
            Standing::Kept => "kept",
            Standing::Lost => "lost",
            Standing::Ended => "ended by the issuer",
        };
        *tally.demands.entry((state.clone(), standing)).or_default() += 1;
        out.insert(name, state);
    }
}

fn tell(tally: &Tally, start: Instant) {
    if tally.kills.is_multiple_of(200) {
        let Tally { kills, hits, in_window, answered, demands, left: _ } = tally;
        eprintln!(
            "{:>5} s: {kills} kills, {hits} during a renewal ({in_window} before the answer was on disk, {answered} \
             after), asked for a person: {demands:?}",
            start.elapsed().as_secs()
        );
    }
}

fn conclude(mut fleet: Fleet, options: &Options, mut tally: Tally, start: Instant) -> Report {
    fleet.issuer.mend();
    fleet.daemon.start_again();
    let out = fleet.settle(SETTLING);
    assert_eq!(fleet.daemon.stop().status, 0, "{}", fleet.daemon.log());
    let standings = judge(&fleet.issuer, fleet.daemon.home(), &fleet.accounts);
    let said: BTreeSet<&String> = out.iter().map(|(name, _)| name).collect();
    let unsaid =
        standings.iter().filter(|(name, standing)| **standing != Standing::Kept && !said.contains(name));
    let unsaid: Vec<_> = unsaid.collect();
    blame(&fleet, out.clone(), &mut BTreeMap::new(), &mut tally);
    let by = |wanted: &str| -> u64 {
        tally.demands.iter().filter(|((_, standing), _)| *standing == wanted).map(|(_, count)| count).sum()
    };
    let (lost, ended, needless) = (by("lost"), by("ended by the issuer"), by("kept"));
    let rotation = options.rotation;
    let late = fleet.issuer.ask(|ledger, _| ledger.replayed_outside(rotation.grace()));
    let (renewals, twice, most) = presentations(&fleet);
    let share = |count: u64| 100.0 * count as f64 / tally.kills as f64;
    let gone = lost + ended;
    let unsaid_in_settings = match options.said {
        Said::Yes => "",
        Said::No => ", of which the settings say nothing",
    };
    let report = Report::new(
        format!("`kill -9` at random, {}{unsaid_in_settings}", told(rotation)),
        format!(
            "{} kills in {} s, {} of them ({:.0} %) during a renewal; {renewals} renewals of {} accounts",
            tally.kills,
            start.elapsed().as_secs(),
            tally.hits,
            share(tally.hits),
            fleet.accounts.len()
        ),
    )
    .lost(format!("{gone} ({:.2} % of the kills)", share(gone)))
    .figure(format!(
        "{:.2} % of the kills between the sending of a token and the answer on disk, {:.2} % after that",
        share(tally.in_window),
        share(tally.answered)
    ))
    .figure(format!("the store opened {0} of {0} times", tally.kills + 1))
    .figure(format!("{needless} logins asked for in doubt"))
    .figure(format!("{late} replays after the grace, one token {most} times at most"))
    .figure(format!("reported: {:?}, not reported: {}", tally.demands, unsaid.len()))
    .figure(format!("seed {}", options.seed))
    .promise(unsaid.is_empty(), format!("lost without a word: {unsaid:?}"));
    match rotation {
        Rotation::Strict => {
            report.promise(twice == 0, format!("{twice} refresh tokens were replayed twice or more often"))
        }
        Rotation::Omitted | Rotation::Repeated | Rotation::Grace(_) | Rotation::GraceGivesBackSpent(_) => {
            report
                .promise(gone + needless == 0, format!("somebody has to log in again: {:?}", tally.demands))
                .promise(late == 0, "a refresh token was presented after the grace")
        }
    }
}

/// Returns the renewals asked for, the refresh tokens that were replayed twice or more often, and how often one was
/// presented at most.
fn presentations(fleet: &Fleet) -> (usize, usize, usize) {
    fleet.issuer.ask(|ledger, _| {
        let requests = ledger.requests("refresh_token");
        let mut presented: HashMap<&str, usize> = HashMap::new();
        for token in requests.iter().filter_map(|request| request.parameter("refresh_token")) {
            *presented.entry(token).or_default() += 1;
        }
        let twice = ledger.replayed().iter().filter(|token| token.replayed.len() > 1).count();
        (requests.len(), twice, presented.values().copied().max().unwrap_or(0))
    })
}
