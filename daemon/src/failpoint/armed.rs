//! The plan of a test: what happens at which point, and at which time of passing it.
//!
//! It is read from `KEYFOB_FAILPOINTS` by `main`: `K6=kill`, `K8=enospc:3` (the first three times), `K4=panic@2` (the second
//! time alone), separated by semicolons.

use std::io;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::failpoint::Point;

/// Nothing is armed until `main` has read the plan.
static PLAN: Mutex<Plan> = Mutex::new(Plan(Vec::new()));

/// What happens at which points.
#[derive(Clone, Debug, Default)]
pub struct Plan(Vec<Charge>);

/// One point's part of a plan.
#[derive(Clone, Debug)]
struct Charge {
    point: Point,
    action: Action,
    /// How often the point is passed in peace before.
    skips: u32,
    /// How often the action is taken after that.
    times: u32,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// The process dies, as by `kill -9`.
    Kill,
    /// The thread panics.
    Panic,
    /// The thread goes no further.
    Hang,
    /// The disk says so.
    Fail(Errno),
}

/// A plan is not what the head of this file says.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is no fail point")]
pub struct InvalidPlan(String);

impl FromStr for Plan {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let charges = text.split(';').filter(|part| !part.is_empty());
        charges
            .map(|part| charge(part).ok_or_else(|| InvalidPlan(part.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn charge(text: &str) -> Option<Charge> {
    let (point, rest) = text.split_once('=')?;
    let point = POINTS.iter().position(|(name, _)| *name == point).map(|index| POINTS[index].1)?;
    let (action, skips, times) = match (rest.split_once('@'), rest.split_once(':')) {
        (Some((action, nth)), _) => (action, nth.parse::<u32>().ok()?.checked_sub(1)?, 1),
        (None, Some((action, times))) => (action, 0, times.parse().ok()?),
        (None, None) => (rest, 0, u32::MAX),
    };
    let action = match action {
        "kill" => Action::Kill,
        "panic" => Action::Panic,
        "hang" => Action::Hang,
        "eio" => Action::Fail(Errno::IO),
        "enospc" => Action::Fail(Errno::NOSPC),
        "erofs" => Action::Fail(Errno::ROFS),
        "edquot" => Action::Fail(Errno::DQUOT),
        _ => return None,
    };
    Some(Charge { point, action, skips, times })
}

const POINTS: [(&str, Point); 12] = [
    ("K0", Point::Begin),
    ("K1", Point::Reread),
    ("K2", Point::Preflight),
    ("K3", Point::Intent),
    ("K4", Point::Sent),
    ("K5", Point::Answered),
    ("K6", Point::Journalled),
    ("K7", Point::Parsed),
    ("K8", Point::Written),
    ("K9", Point::Renamed),
    ("K10", Point::Scrubbed),
    ("K11", Point::Published),
];

/// Puts a plan in force.
pub fn arm(plan: Plan) {
    *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = plan;
}

/// Passes a point.
pub(crate) fn pass(point: Point) -> io::Result<()> {
    match due(point) {
        None => Ok(()),
        Some(Action::Fail(errno)) => Err(errno.into()),
        Some(Action::Panic) => {
            tracing::error!(?point, "the plan of the fail points wants a panic");
            // What a panic says must get nowhere: the canary tests look for this one.
            panic!("CANARY at {point:?}")
        }
        Some(Action::Hang) => hang(),
        Some(Action::Kill) => {
            kill_process(getpid(), Signal::KILL)?;
            hang()
        }
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// Returns what is to be done this time.
fn due(point: Point) -> Option<Action> {
    let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
    let charge = plan.0.iter_mut().find(|charge| charge.point == point && charge.times > 0)?;
    if charge.skips > 0 {
        charge.skips -= 1;
        return None;
    }
    charge.times = charge.times.saturating_sub(1);
    Some(charge.action)
}
