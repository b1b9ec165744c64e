//! what a power loss at any point of a renewal leaves behind, opened by the store as it is.

use std::collections::BTreeSet;
use std::fs;

use secrecy::ExposeSecret;

use crate::store::directory::recorder::{self, Change};
use crate::store::journal::tests::{answered, begun, intent};
use crate::store::key::KeyChoice;
use crate::store::sim_fs::{Disk, Files, Running, materialise};
use crate::store::tests::{Machine, name};
use crate::store::{Place, Record, Store};

/// What the issuer answered: a few sectors.
const BODY: &[u8] = &[b'x'; 2000];

/// A renewal, as the store wrote it down, and how far it was when.
struct Renewal {
    machine: Machine,
    before: Disk,
    changes: Vec<Change>,
    begun: usize,
    answered: usize,
    saved: usize,
    ended: usize,
    /// How often the token had been presented before.
    presentations: u32,
}

/// What lies there when the renewal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Intent,
    TornAnswer,
}

/// The generation that the renewal begins with.
const OLD: u64 = 7;

impl Renewal {
    /// Renews an account for which an earlier renewal left something.
    fn record(left: Left) -> Self {
        let machine = Machine::in_memory();
        let store = machine.open(KeyChoice::File).unwrap();
        store.save(&name("prod"), &machine.record(OLD, "old")).unwrap();
        let presentations = u32::from(left != Left::Nothing);
        if presentations > 0 {
            drop(begun(&store, &intent(&machine, OLD, presentations), Place::State));
        }
        if left == Left::TornAnswer {
            let mut journal = fs::read(machine.path("accounts/prod.journal")).unwrap();
            journal[1000..2000].fill(b'x');
            machine.write("accounts/prod.journal", &journal);
        }
        let before = Disk::of(&machine.path("accounts"));
        recorder::start();
        let mut journal = begun(&store, &intent(&machine, OLD, presentations + 1), Place::State);
        let begun = recorder::position();
        journal.record(&answered(&machine, BODY)).unwrap();
        let answered = recorder::position();
        store.save(&name("prod"), &machine.record(OLD + 1, "new")).unwrap();
        let saved = recorder::position();
        store.end_rotation(&name("prod")).unwrap();
        let ended = recorder::position();
        let changes = recorder::stop();
        Self { machine, before, changes, begun, answered, saved, ended, presentations }
    }

    /// Asserts that a state which a power loss after so many changes may leave is one to go on from.
    fn holds(&self, files: &Files, at: usize) {
        let what = || format!("after {:#?} there was {:?}", told(&self.changes[..at]), files.keys());
        materialise(files, &self.machine.path("accounts"));
        let store = self.machine.open(KeyChoice::File).unwrap();
        let left = store.left_rotation(&name("prod")).unwrap_or_else(|error| panic!("{error}: {}", what()));
        let record = store.load(&name("prod")).unwrap_or_else(|error| panic!("{error}: {}", what()));
        let record = record.unwrap_or_else(|| panic!("no tokens {}", what()));
        is_whole(&record, record.generation - OLD);
        assert!(record.generation == OLD + 1 || at < self.saved, "the old tokens {}", what());
        match left {
            Some(left) => {
                assert!(record.generation == OLD && at < self.ended, "a journal of the past {}", what());
                let presentations = left.intent.doubt.presentations;
                assert!(presentations >= self.presentations, "a presentation is forgotten {}", what());
                assert!(presentations > self.presentations || at < self.begun, "no intent {}", what());
                assert!(left.answered.is_some() || at < self.answered, "no answer {}", what());
                assert!(left.answered.is_none_or(|answered| *answered.body == BODY), "{}", what());
            }
            None => {
                let nothing_to_know = at < self.begun && self.presentations == 0;
                assert!(record.generation > OLD || nothing_to_know, "no intent {}", what());
            }
        }
        self.goes_on(&store, &what);
    }

    /// Asserts that nothing which the power loss left keeps a renewal from being made.
    fn goes_on(&self, store: &Store, what: &dyn Fn() -> String) {
        store.save(&name("prod"), &self.machine.record(OLD + 2, "later")).unwrap_or_else(|error| {
            panic!("{error}: {}", what());
        });
        assert!(store.left_rotation(&name("prod")).unwrap().is_none(), "{}", what());
        is_whole(&store.load(&name("prod")).unwrap().unwrap(), 2);
    }
}

/// Says what was done, without the bytes.
fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{change:?}").chars().take(120).collect()).collect()
}

fn is_whole(record: &Record, renewals: u64) {
    let expected = ["old-CANARY", "new-CANARY", "later-CANARY"];
    let access = record.tokens.access.secret().expose_secret();
    assert_eq!(access, expected[usize::try_from(renewals).unwrap()]);
    assert!(record.tokens.refresh.is_some());
}

#[tokio::test(start_paused = true)]
async fn no_power_loss_at_any_point_loses_both_generations_r9() {
    for left in [Left::Nothing, Left::Intent, Left::TornAnswer] {
        let renewal = Renewal::record(left);
        let disk = Disk::of(&renewal.machine.path("accounts"));
        let mut running = Running::new(renewal.before.clone());
        let mut different = BTreeSet::new();
        for at in 0..=renewal.changes.len() {
            for files in running.crash_states() {
                renewal.holds(&files, at);
                different.insert(files);
            }
            if let Some(change) = renewal.changes.get(at) {
                running.apply(change);
            }
        }
        assert_eq!(running.seen().named(), disk.named(), "the record lacks a change");
        println!("{left:?}: {} different crash states", different.len());
        assert!(different.len() > 200, "{left:?}: {} different crash states are not all", different.len());
    }
}
