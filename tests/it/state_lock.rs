//! What another program does about the lock: it holds it, takes it away, or puts another in its place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually};
use integration_tests::process::Process;
use integration_tests::programs;
use keyfob_protocol::error::Exit;
use rustix::fs::{FlockOperation, flock};

/// Daemons that are started at once.
const CROWD: usize = 4;

#[test]
fn a_lock_that_another_program_holds_is_named_and_costs_no_login_r8() {
    let (issuer, mut daemon) = signed_in();
    daemon.stop();
    let held = hold(daemon.home());
    let output = daemon.home().spawn("keyfobd", &[]).wait();
    assert_eq!(output.status, 1, "{}", output.stderr);
    let named = format!("fuser {}", lock_file(daemon.home()).display());
    assert!(output.stderr.contains(&named), "{}", output.stderr);
    assert_ne!(daemon.shim(&["token"]).status, 0);
    drop(held);
    daemon.start_again();
    still_holds_its_login(&daemon, &issuer);
}

#[test]
fn daemons_wait_for_a_program_that_has_the_lock_for_a_moment_and_one_serves_r8() {
    let (issuer, mut daemon) = signed_in();
    daemon.stop();
    let held = hold(daemon.home());
    let mut crowd = crowd(daemon.home());
    for process in &crowd {
        eventually(SOON, "a daemon waits", || process.stderr().contains("waiting for another process"));
    }
    assert!(daemon.try_api("GET", "/healthz").is_none(), "a daemon started beside the lock");
    drop(held);
    one_serves(&daemon, &mut crowd);
    daemon.start_again();
    still_holds_its_login(&daemon, &issuer);
}

#[test]
fn a_lock_file_that_is_taken_away_lets_no_second_daemon_in_r8() {
    type Harm = fn(&Path);
    let harms: [Harm; 2] = [|lock| fs::remove_file(lock).unwrap(), replace];
    for harm in harms {
        let (issuer, daemon) = signed_in();
        harm(&lock_file(daemon.home()));
        // With a socket of its own there is nothing else that could stop it.
        let elsewhere = daemon.home().path("run/elsewhere.sock");
        let mut command = daemon.home().command(programs::directory().join("keyfobd"));
        command.env("KEYFOB_SOCKET", &elsewhere);
        let output = daemon.home().spawn_command(command).wait();
        assert_eq!(output.status, 1, "{}", output.stderr);
        assert!(output.stderr.contains("has locked"), "{}", output.stderr);
        for mut process in crowd(daemon.home()) {
            let output = process.wait();
            assert_eq!(output.status, 0, "{}", output.stderr);
            assert!(output.stderr.contains("answers at"), "{}", output.stderr);
        }
        still_holds_its_login(&daemon, &issuer);
    }
}

#[test]
fn a_lock_file_that_is_replaced_all_the_time_while_daemons_start_leaves_one_r8() {
    let (issuer, mut daemon) = signed_in();
    daemon.stop();
    let is_over = AtomicBool::new(false);
    let mut crowd = crowd(daemon.home());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                replace(&lock_file(daemon.home()));
            }
        });
        let _over = Over(&is_over);
        one_serves(&daemon, &mut crowd);
    });
    daemon.start_again();
    still_holds_its_login(&daemon, &issuer);
}

/// Says that it is over, also where what was done beside it failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns a daemon with a login at an issuer that takes no refresh token twice.
fn signed_in() -> (FakeIssuer, Daemon) {
    let issuer = FakeIssuer::start(Settings { rotation: Rotation::Strict, ..Settings::default() });
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    (issuer, daemon)
}

fn lock_file(home: &Home) -> PathBuf {
    home.path("state/keyfob/lock")
}

/// Takes the lock, as a program that is none of ours does, for as long as what is returned lives.
fn hold(home: &Home) -> File {
    let lock = File::open(lock_file(home)).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    lock
}

/// Puts a file in the place of the lock that nobody has locked.
fn replace(lock: &Path) {
    let other = lock.with_extension("restored");
    fs::copy(lock, &other).unwrap();
    fs::rename(other, lock).unwrap();
}

fn crowd(home: &Home) -> Vec<Process> {
    (0..CROWD).map(|_| home.spawn("keyfobd", &[])).collect()
}

/// Waits until one of the daemons serves and all others have left it to that, and ends it.
fn one_serves(daemon: &Daemon, crowd: &mut Vec<Process>) {
    eventually(SOON, "all but one have left", || {
        crowd.retain_mut(|process| {
            let Some(output) = process.ended() else { return true };
            assert_eq!(output.status, 0, "{}", output.stderr);
            assert!(output.stderr.contains("answers at"), "{}", output.stderr);
            false
        });
        crowd.len() == 1
    });
    eventually(SOON, "one serves", || daemon.try_api("GET", "/healthz").is_some());
    assert_eq!(daemon.shim(&["stop"]).status, 0);
    assert_eq!(crowd[0].wait().status, 0);
}

/// Looks whether what a logout hands back is what the issuer keeps.
fn still_holds_its_login(daemon: &Daemon, issuer: &FakeIssuer) {
    assert!(issuer.honours(&daemon.token("prod").access_token), "{}", daemon.log());
    let ledger = issuer.ledger();
    let live = ledger.families[0].live().unwrap().token.clone();
    assert_eq!((ledger.families.len(), ledger.violations), (1, Vec::new()));
    assert_eq!(daemon.shim(&["logout"]).status, Exit::Success as i32);
    assert!(issuer.ledger().revoked.contains(&live), "it holds another refresh token");
}
