//! Another program that touches the lock while daemons start: a backup that holds it, a synchroniser that replaces it.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use integration_tests::home::Home;
use integration_tests::patience::rest;
use rustix::fs::{FlockOperation, flock};

/// How long the lock is held, at most, and by how much longer each time: far less than the 4 s for which a daemon waits.
const LONGEST: Duration = Duration::from_millis(1000);
const STEP: Duration = Duration::from_millis(37);

/// How soon the file is replaced again.
const PAUSE: Duration = Duration::from_millis(1);

/// What another program does about the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// There is none.
    Nobody,
    /// It has the lock first, and lets go of it after a time.
    Holds(Duration),
    /// It puts another file in the place of the lock's, over and over.
    Replaces,
}

impl Stranger {
    /// Returns the one of a round: each in turn.
    pub(crate) fn of(round: usize) -> Self {
        match round % 3 {
            0 => Self::Nobody,
            1 => {
                let steps = u32::try_from(round / 3 % 28).unwrap_or(0);
                Self::Holds((STEP * steps).min(LONGEST))
            }
            _ => Self::Replaces,
        }
    }

    /// Does what is started, beside the other program.
    pub(crate) fn beside<T>(self, home: &Home, what: impl FnOnce() -> T) -> T {
        let lock = home.path("state/keyfob/lock");
        let is_over = AtomicBool::new(false);
        // Before anything is started.
        let held = (self != Self::Nobody).then(|| hold(&lock));
        thread::scope(|scope| {
            scope.spawn(|| match self {
                Self::Nobody => {}
                Self::Holds(time) => {
                    rest(time);
                    drop(held);
                }
                Self::Replaces => {
                    drop(held);
                    while !is_over.load(Ordering::Relaxed) {
                        replace(&lock);
                        rest(PAUSE);
                    }
                }
            });
            let _over = Over(&is_over);
            what()
        })
    }
}

/// Says that it is over, also where what was done beside it failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn hold(lock: &Path) -> File {
    let file = File::open(lock).expect("the lock has a file");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("no daemon runs");
    file
}

fn replace(lock: &Path) {
    let other = lock.with_extension("other");
    fs::copy(lock, &other).expect("the state directory takes a file");
    fs::rename(other, lock).expect("the lock's file can be replaced");
}
