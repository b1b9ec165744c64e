//! Fills the disk of a daemon at one step of a login or of a renewal, and counts what that costs.
//!
//! The count is the issuer's: a login is lost where the daemon does not hold the refresh token that is in force. The issuer is
//! a strict one, so an answer that is not kept cannot be had again.

use std::thread;
use std::time::Duration;

use keyfob_protocol::account::Persistence;

use crate::config;
use crate::daemon::{Daemon, MORE_LIFE};
use crate::disk::{Disk, PAGE};
use crate::home::Home;
use crate::issuer::FakeIssuer;
use crate::issuer::fault::{Endpoint, Point};
use crate::issuer::settings::{Rotation, Settings};
use crate::patience::{SOON, eventually, found};

/// Room for what rests, and for a journal with its 64 KiB.
const SIZE: usize = 32 * PAGE;

/// Long enough for a round, and so short that its end is near: a renewal does not wait for the disk.
pub const SHORT: Duration = Duration::from_secs(28);

/// How many rounds go on at the same time.
const ABREAST: usize = 12;

/// When the disk fills up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before anybody has logged in.
    BeforeLogin,
    /// With a login, before its token is renewed.
    BeforeRenewal,
    /// When the issuer has the request, and before it has replaced the refresh token.
    BeforeCommit,
    /// When it has, and before it answers.
    BeforeReply,
}

const STEPS: [Step; 4] = [Step::BeforeLogin, Step::BeforeRenewal, Step::BeforeCommit, Step::BeforeReply];

/// How many pages stay free. A record takes one, its directory entry none, and a journal seventeen.
const LEFT: [usize; 7] = [0, 1, 2, 3, 16, 17, 18];

/// A daemon whose state directory is on a small disk.
#[derive(Debug)]
pub struct World {
    /// It ends before its disk.
    pub daemon: Daemon,
    /// Its disk.
    pub disk: Disk,
    /// Its issuer.
    pub issuer: FakeIssuer,
}

impl World {
    /// Starts a daemon nobody has logged in to, with access tokens that live so long.
    pub fn new(access_lifetime: Duration) -> Self {
        Self::with_disk_at("state/keyfob", access_lifetime)
    }

    /// Starts one with the disk at this path below its home.
    pub fn with_disk_at(below: &str, access_lifetime: Duration) -> Self {
        let issuer = FakeIssuer::start(Settings {
            access_lifetime,
            rotation: Rotation::Strict,
            ..Settings::default()
        });
        // A run of hours must not fill the real disk with its logs.
        let home = Home::new().set("KEYFOB_LOG", "debug");
        let disk = Disk::mount(&home.path(below), SIZE);
        home.launch_by(&disk.launcher());
        home.configure(&config::device_code(&issuer));
        Self { daemon: Daemon::start_in(home), disk, issuer }
    }

    /// Waits until the token is another one, and returns that.
    #[track_caller]
    pub fn renewed(&self, before: &str) -> String {
        found(SOON * 2, "a renewal", || {
            let token = self.daemon.token_with("prod", &format!("{MORE_LIFE}&wait=0")).access_token;
            (token != before).then_some(token)
        })
    }

    /// Waits until what is held is on disk, and nothing needs to be said about it.
    #[track_caller]
    pub fn heals(&self) {
        eventually(SOON, "everything is on disk", || {
            let account = self.daemon.account("prod");
            account.persistence == Persistence::Durable && account.persistence_note.is_none()
        });
    }

    /// Ends the login, by which the daemon shows which refresh token it holds: it must be the one that is in force.
    #[track_caller]
    pub fn has_lost_nothing(&self) {
        let ledger = self.issuer.ledger();
        assert_eq!(ledger.replayed().len(), 0, "{}", self.daemon.log());
        let family = ledger.families.last().expect("somebody has logged in");
        let live = family.live().expect("its last refresh token is in force").token.clone();
        assert!(family.alive, "{}", self.daemon.log());
        self.daemon.api("DELETE", "/v1/accounts/prod/session");
        let revoked = self.issuer.ledger().revoked;
        assert!(revoked.contains(&live), "the refresh token in force was lost\n{}", self.daemon.log());
    }
}

/// Fills the disk so often, at every step, with every amount of space left.
///
/// # Panics
/// Panics where a login is lost, a token is not served, or the daemon does not heal.
pub fn rounds(count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for abreast in all.chunks(ABREAST) {
        thread::scope(|scope| {
            for round in abreast {
                let step = STEPS[round % STEPS.len()];
                let left = LEFT[round / STEPS.len() % LEFT.len()];
                let dies = (round / (STEPS.len() * LEFT.len())).is_multiple_of(2);
                scope.spawn(move || self::round(step, left, dies));
            }
        });
    }
}

fn round(step: Step, left: usize, dies: bool) {
    let mut world = World::new(SHORT);
    if step == Step::BeforeLogin {
        world.disk.fill_all_but(left);
    }
    world.daemon.log_in("prod");
    let before = world.daemon.token("prod").access_token;
    match step {
        Step::BeforeLogin => {}
        Step::BeforeRenewal => world.disk.fill_all_but(left),
        Step::BeforeCommit => world.fill_in_mid_renewal(Point::BeforeCommit, left),
        Step::BeforeReply => world.fill_in_mid_renewal(Point::BeforeReply, left),
    }
    let after = world.renewed(&before);
    if dies {
        world.daemon.kill();
        world.daemon.start_again();
        assert_eq!(world.daemon.token("prod").access_token, after, "{step:?}, {left} pages left");
    }
    world.disk.free();
    world.heals();
    world.daemon.kill();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, after, "{step:?}, {left} pages left");
    world.has_lost_nothing();
}

impl World {
    fn fill_in_mid_renewal(&self, point: Point, left: usize) {
        self.issuer.hold(Endpoint::Token, point);
        let impatient = format!("{MORE_LIFE}&wait=0");
        eventually(SOON, "a renewal under way", || {
            self.daemon.token_with("prod", &impatient);
            self.issuer.held() == 1
        });
        self.disk.fill_all_but(left);
        self.issuer.release();
    }
}
