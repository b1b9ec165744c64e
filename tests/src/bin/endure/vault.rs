//! What a daemon that has ended holds: its own store, opened as it would open it.
//!
//! No API gives a refresh token away, so this is the way to learn which one it has. The store has one owner at a time: it
//! cannot be opened while the daemon runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::time::SystemTime;

use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::patience::{SOON, eventually};
use keyfob_daemon::clock::Clock;
use keyfob_daemon::store::key::KeyChoice;
use keyfob_daemon::store::{Location, Sources, Store};
use rustix::fs::{FlockOperation, flock};
use secrecy::ExposeSecret;

/// How a login stands, by the issuer's ledger and the daemon's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The daemon holds the refresh token that works.
    Kept,
    /// The issuer keeps the login, and the daemon does not hold the token that works.
    Lost,
    /// The issuer ended it: a refresh token was presented that it took for stolen.
    Ended,
}

/// Returns how the latest login of each account stands. An account is a client of its own name.
pub(crate) fn judge(issuer: &FakeIssuer, home: &Home, accounts: &[String]) -> BTreeMap<String, Standing> {
    let held = held(home, accounts);
    issuer.ask(|ledger, _| {
        let standing = |name: &String| {
            let family = ledger.families.iter().rfind(|family| family.client == *name)?;
            let live = family.live().map(|live| live.token.as_str());
            Some(match family.alive {
                false => Standing::Ended,
                true if live == held[name].as_deref() => Standing::Kept,
                true => Standing::Lost,
            })
        };
        accounts.iter().map(|name| (name.clone(), standing(name).unwrap_or(Standing::Lost))).collect()
    })
}

/// What a daemon that was killed left of a renewal that has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// What it was about to do: nobody can tell whether the refresh token was spent.
    Unanswered,
    /// The answer as well.
    Answered,
}

/// What was left of renewals, by the name of the file, with when that was written.
pub(crate) type Leftovers = BTreeMap<OsString, (SystemTime, Left)>;

/// Returns what was left of renewals: a journal has the length of its first part, that part, and the length of the
/// answer, which is 0 while there is none.
pub(crate) fn left(home: &Home) -> Leftovers {
    let files = fs::read_dir(home.path("state/keyfob/accounts")).expect("the state directory can be read");
    let journals = files.flatten().filter(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.ends_with(".journal") && !name.starts_with('.')
    });
    let is_answered = |journal: &[u8]| {
        let length = |at: usize| -> Option<usize> {
            let bytes: [u8; 4] = journal.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_be_bytes(bytes)).ok()
        };
        length(0).and_then(|first| length(4 + first)).is_some_and(|answer| answer > 0)
    };
    let look = |file: fs::DirEntry| {
        let written = file.metadata().and_then(|file| file.modified()).expect("a journal has a time");
        let journal = fs::read(file.path()).expect("a journal can be read");
        let left = if is_answered(&journal) { Left::Answered } else { Left::Unanswered };
        (file.file_name(), (written, left))
    };
    journals.map(look).collect()
}

fn held(home: &Home, accounts: &[String]) -> BTreeMap<String, Option<String>> {
    let directory = home.path("state/keyfob");
    let store = Store::open(
        &Location::of(&directory),
        KeyChoice::File,
        Sources::of_the_system(None),
        Clock::system(),
    )
    .expect("the store of a daemon that has ended opens");
    let refresh_token = |name: &String| {
        let record = store.load(&name.parse().expect("an account's name")).expect("a record can be read")?;
        record.tokens.refresh.map(|refresh| refresh.secret.expose_secret().to_owned())
    };
    let held = accounts.iter().map(|name| (name.clone(), refresh_token(name))).collect();
    drop(store);
    // A process that is being started elsewhere holds what we had open until it becomes another program.
    eventually(SOON, "nobody has the state directory", || is_free(home));
    held
}

/// Tells whether no process has the state directory any more.
pub(crate) fn is_free(home: &Home) -> bool {
    // Not by the lock's file, which others may replace.
    let directory = File::open(home.path("state/keyfob")).expect("there is a state directory");
    let is_free = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    // Whoever inherited it meanwhile has no lock by it.
    is_free && flock(&directory, FlockOperation::Unlock).is_ok()
}
