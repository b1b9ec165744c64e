//! Kills a daemon at one step of a rotation, again and again, and counts what that costs.
//!
//! The count is the issuer's, not the daemon's: a login is lost where nobody can renew it any more and nobody ended it. The
//! thing to get wrong is to ask the daemon alone, which cannot know what it never got.

use std::thread;
use std::time::Duration;

use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::token::TokenResponse;

use crate::config;
use crate::daemon::{Daemon, MORE_LIFE};
use crate::home::Home;
use crate::issuer::FakeIssuer;
use crate::issuer::settings::{Rotation, Settings};
use crate::patience::{SOON, found};
use crate::programs;

/// The steps after which a daemon can be killed, as a plan of fail points names them.
pub const STEPS: [&str; 12] = ["K0", "K1", "K2", "K3", "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11"];

/// The steps after which the issuer has replaced the refresh token, and nothing but the daemon's memory has the new one.
pub const IN_MEMORY_ALONE: [&str; 2] = ["K4", "K5"];

/// How long access tokens live here: the shortest life that is renewed ahead, at half of it, with room to spare.
pub const LIFETIME: Duration = Duration::from_secs(22);

/// What kills at one step cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The step.
    pub step: &'static str,
    /// How often the daemon was killed.
    pub kills: usize,
    /// Logins that ended by that.
    pub lost: usize,
    /// Those of them after which the daemon asked for a login when it came back, and said why.
    pub reported: usize,
    /// How often one refresh token was presented after it had been replaced, at most.
    pub replays: usize,
}

/// How often one daemon is killed: there is another for what goes beyond. Each round lasts some twelve seconds, nearly all
/// of them the pause that a daemon makes between two renewals.
const MOST_ROUNDS: usize = 25;

/// Kills daemons so often at each step, with issuers that rotate like this, all steps beside each other.
///
/// # Panics
/// Panics where a daemon neither goes on with its login nor asks for one.
pub fn at_every_step(rotation: Rotation, rounds: usize) -> Vec<Tally> {
    // Not while a token ages.
    programs::with_failpoints();
    thread::scope(|scope| {
        let steps = STEPS.map(|step| scope.spawn(move || at_step(step, rotation, rounds)));
        steps.into_iter().map(|step| step.join().expect("the step was gone through")).collect()
    })
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            step: self.step,
            kills: self.kills + other.kills,
            lost: self.lost + other.lost,
            reported: self.reported + other.reported,
            replays: self.replays.max(other.replays),
        }
    }
}

/// Kills daemons so often at one step.
fn at_step(step: &'static str, rotation: Rotation, rounds: usize) -> Tally {
    thread::scope(|scope| {
        let daemons: Vec<_> = (0..rounds)
            .step_by(MOST_ROUNDS)
            .map(|done| scope.spawn(move || one_daemon(step, rotation, MOST_ROUNDS.min(rounds - done))))
            .collect();
        let tallies = daemons.into_iter().map(|daemon| daemon.join().expect("the rounds were gone through"));
        tallies.reduce(Tally::and).expect("there is a round")
    })
}

fn one_daemon(step: &'static str, rotation: Rotation, rounds: usize) -> Tally {
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, rotation, ..Settings::default() });
    // A run of hours must not fill the disk with its logs.
    let home = Home::new().set("KEYFOB_LOG", "debug");
    home.configure(&config::device_code(&issuer));
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    let mut reported = 0;
    for round in 0..rounds {
        let before = daemon.token("prod").access_token;
        daemon.stop();
        daemon.die(&format!("{step}=kill"));
        daemon.start_again();
        let outcome =
            found(SOON, &format!("an end of round {round} at {step}"), || outcome(&daemon, &before));
        match outcome {
            Outcome::Renewed(token) => {
                assert!(issuer.honours(&token), "round {round} at {step}: {}", daemon.log());
            }
            Outcome::LoginRequired => {
                reported += 1;
                daemon.log_in("prod");
            }
        }
    }
    hand_back(&daemon, &issuer, rounds, reported, step)
}

/// How a daemon comes back.
enum Outcome {
    Renewed(String),
    LoginRequired,
}

fn outcome(daemon: &Daemon, before: &str) -> Option<Outcome> {
    let answer = daemon.api("GET", &format!("/v1/accounts/prod/token?{MORE_LIFE}&wait=0"));
    let error = if answer.status == 200 {
        let token: TokenResponse = answer.json();
        if token.access_token != before {
            return Some(Outcome::Renewed(token.access_token));
        }
        token.stale
    } else {
        Some(answer.json::<ErrorBody>())
    };
    let is_over = error.is_some_and(|error| error.error == ErrorCode::LoginRequired);
    is_over.then_some(Outcome::LoginRequired)
}

/// Ends the last login, which shows which refresh token the daemon holds, and counts.
fn hand_back(
    daemon: &Daemon,
    issuer: &FakeIssuer,
    kills: usize,
    reported: usize,
    step: &'static str,
) -> Tally {
    let before = issuer.ledger();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    let revoked = issuer.ledger().revoked;
    let is_kept = |family: &crate::issuer::ledger::Family| {
        family.alive && family.live().is_some_and(|live| revoked.contains(&live.token))
    };
    let kept = before.families.iter().filter(|family| is_kept(family)).count();
    let tokens = before.families.iter().flat_map(|family| &family.refresh_tokens);
    Tally {
        step,
        kills,
        lost: before.families.len() - kept,
        reported,
        replays: tokens.map(|token| token.replayed.len()).max().unwrap_or(0),
    }
}
