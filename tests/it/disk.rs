//! The disk fills up, is made read-only, or breaks, at any step of a renewal: no login is lost, and people are told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::disk::{Disk, PAGE};
use integration_tests::full_disk::{self, SHORT, World};
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Rotation, Settings};
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::service_manager::ServiceManager;
use keyfob_protocol::account::Persistence;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::token::TokenResponse;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// How often the disk fills up.
const ROUNDS: usize = 12;

/// Renewed for whoever asks for more after a fifth of it, and then still far from its end.
const LONG: Duration = Duration::from_secs(90);

#[test]
fn a_disk_that_fills_up_at_any_step_costs_no_login_k1_r11() {
    full_disk::rounds(ROUNDS);
}

#[test]
fn a_refresh_token_is_not_used_while_the_disk_is_full_until_its_access_token_nears_its_end_r10() {
    let issuers = [LONG, SHORT].map(strict);
    let home = Home::new();
    let disk = Disk::mount(&home.path("state/keyfob"), 64 * PAGE);
    home.launch_by(&disk.launcher());
    let accounts = config::account("long", &issuers[0]) + &config::account("short", &issuers[1]);
    home.configure(&(HEAD.replace("prod", "long") + &accounts));
    let mut daemon = Daemon::start_in(home);
    let before = daemon.log_all_in(&["long", "short"].map(str::to_owned));
    disk.fill();

    let impatient = format!("{MORE_LIFE}&wait=0");
    let short = found(SOON * 2, "a renewal of the token that nears its end", || {
        // The other one is asked for just as often.
        assert_eq!(daemon.token_with("long", &impatient).access_token, before[0]);
        let token = daemon.token_with("short", &impatient).access_token;
        (token != before[1]).then_some(token)
    });
    eventually(SOON, "the trouble is told", || {
        daemon.token_with("long", &impatient);
        daemon.account("long").last_error.is_some()
    });
    assert_eq!(issuers[0].ledger().requests("refresh_token").len(), 0, "it was sent");
    assert_eq!(daemon.account("long").persistence, Persistence::Durable);
    assert_eq!(daemon.account("short").persistence, Persistence::Volatile);
    let status = daemon.shim(&["status"]).stdout;
    let lines =
        |name: &str| status.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n");
    assert!(lines("long").contains("the disk is full: make room on it"), "{status}");
    assert!(lines("short").contains("not on disk: the disk is full: make room on it"), "{status}");

    disk.free();
    eventually(SOON, "everything is on disk", || daemon.account("short").persistence == Persistence::Durable);
    let status = daemon.shim(&["status"]).stdout;
    assert!(!status.contains("not on disk"), "{status}");
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("short").access_token, short);
    eventually(SOON, "a renewal of the other token", || {
        daemon.token_with("long", &impatient).access_token != before[0]
    });
    assert!(issuers[0].honours(&daemon.token("long").access_token));
    assert!(issuers.iter().all(|issuer| issuer.ledger().replayed().is_empty()));
}

#[test]
fn tokens_that_are_not_on_disk_are_told_of_once_in_the_log_and_all_the_time_in_status_r11() {
    let world = World::new(SHORT);
    world.daemon.log_in("prod");
    let before = world.daemon.token("prod").access_token;
    world.disk.fill();
    world.renewed(&before);
    let again = "keyfobd tries again by itself";
    eventually(SOON, "the state is told", || world.daemon.shim(&["status"]).stdout.contains(again));
    let json = world.daemon.shim(&["status", "--json"]).stdout;
    assert!(json.contains(r#""persistence":"volatile""#) && json.contains("the disk is full"), "{json}");
    let tried = |line: &str| world.daemon.log().matches(line).count();
    let begins = "the store does not have what is held in memory";
    let ends = "the store has what is held in memory again";
    let spilled = || fs::read(the_spilled(&world.daemon)).unwrap();
    let first = spilled();
    eventually(SOON, "another try", || spilled() != first);
    assert_eq!((tried(begins), tried(ends)), (1, 0));

    world.disk.free();
    world.heals();
    assert_eq!((tried(begins), tried(ends)), (1, 1), "{}", world.daemon.log());
    let status = world.daemon.shim(&["status"]).stdout;
    assert!(!status.contains(again) && !status.contains("not on disk"), "{status}");
    assert!(!the_spilled(&world.daemon).exists(), "what was spilled stays behind");
    world.has_lost_nothing();
}

#[test]
fn a_log_on_the_full_disk_stops_nobody_k1() {
    let mut world = World::new(SHORT);
    world.daemon.log_in("prod");
    world.daemon.stop();
    let log = world.daemon.home().path("state/keyfob/keyfobd.log").display().to_string();
    let launcher =
        world.disk.launcher().replace("\"$@\"", &format!("sh -c 'exec \"$@\" 2>>{log}' sh \"$@\""));
    world.daemon.home().launch_by(&launcher);
    world.daemon.start_again();
    world.disk.fill();
    let before = world.daemon.token("prod").access_token;
    let after = world.renewed(&before);
    world.daemon.stop();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, after);
    world.disk.free();
    world.heals();
    world.has_lost_nothing();
}

#[test]
fn a_disk_that_becomes_read_only_is_done_without_and_taken_again_k2() {
    let mut world = World::with_disk_at("state/keyfob/accounts", SHORT);
    world.daemon.log_in("prod");
    let before = world.daemon.token("prod").access_token;
    world.disk.forbid_writing();
    let after = world.renewed(&before);
    assert!(world.issuer.honours(&after));
    eventually(SOON, "the trouble is told", || {
        world.daemon.shim(&["status"]).stdout.contains("the disk is read-only: mount it for writing")
    });
    world.daemon.kill();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, after);
    world.disk.allow_writing();
    world.heals();
    world.daemon.kill();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, after);
    world.has_lost_nothing();
}

#[test]
fn a_daemon_starts_on_a_disk_that_is_read_only_k2() {
    let mut world = World::new(LONG);
    world.daemon.log_in("prod");
    let token = world.daemon.token("prod").access_token;
    world.daemon.stop();
    world.disk.forbid_writing();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, token);
    world.daemon.stop();
    world.disk.allow_writing();
    world.daemon.start_again();
    assert_eq!(world.daemon.token("prod").access_token, token);
    assert!(world.issuer.honours(&world.renewed(&token)));
    world.has_lost_nothing();
}

#[test]
fn a_disk_that_fails_after_the_answer_costs_nothing_and_the_record_is_written_anew_r11_k3() {
    let plans = [
        // Beside the state directory, the second time, goes the spill.
        "K8=enospc@1;K8=enospc@2",
        "K8=eio@1;K8=eio@2",
        "K8=edquot@1;K8=edquot@2",
        "K8=erofs@1;K8=erofs@2",
        // The directory's fsync.
        "K9=eio@1;K9=eio@2",
        // No place takes it, for a time.
        "K8=eio:4",
        "K9=eio:4",
        "K2=eio:2",
        "K6=eio:1",
        "K6=enospc:2",
        "K3=eio:2",
        "K10=eio:2",
    ];
    std::thread::scope(|scope| {
        for plan in plans {
            scope.spawn(move || fails_by(plan));
        }
    });
}

fn fails_by(plan: &str) {
    let issuer = strict(SHORT);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    daemon.stop();
    daemon.start_with(plan);
    assert_eq!(daemon.token("prod").access_token, before, "{plan}");
    let after = renewed(&daemon, &before);
    assert!(issuer.honours(&after), "{plan}");
    eventually(SOON, &format!("everything is on disk with {plan}"), || {
        daemon.account("prod").persistence == Persistence::Durable
    });
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, after, "{plan}");
    holds_the_live_token(&daemon, &issuer, plan);
}

#[test]
fn a_save_that_failed_is_not_lost_by_a_crash_before_the_disk_heals_r11() {
    for plan in ["K8=enospc@1;K8=enospc@2;K8=enospc@2", "K9=eio@1;K9=eio@2;K9=eio@2"] {
        let issuer = strict(SHORT);
        let mut daemon = Daemon::start(&config::device_code(&issuer));
        daemon.log_in("prod");
        let before = daemon.token("prod").access_token;
        daemon.stop();
        daemon.start_with(plan);
        assert_eq!(daemon.token("prod").access_token, before, "{plan}");
        let after = renewed(&daemon, &before);
        assert_eq!(daemon.account("prod").persistence, Persistence::Volatile, "{plan}");
        daemon.kill();
        daemon.start_again();
        assert_eq!(daemon.token("prod").access_token, after, "{plan}");
        holds_the_live_token(&daemon, &issuer, plan);
    }
}

#[test]
fn a_write_that_is_cut_short_leaves_the_old_record_whole_k3() {
    let limit = 512;
    let issuer = strict(SHORT);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    let pid = Pid::from_raw(i32::try_from(daemon.process().id()).unwrap());
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(pid, Resource::Fsize, Rlimit { current: Some(limit), maximum: None }).unwrap();
    let accounts = daemon.home().path("state/keyfob/accounts");
    let sealed = fs::read(accounts.join("prod.sealed")).unwrap();
    assert!(u64::try_from(sealed.len()).unwrap() > limit, "a record fits into it");
    let after = renewed(&daemon, &before);
    assert!(daemon.shim(&["status"]).stdout.contains("raise the limit on file sizes"));
    assert_eq!(fs::read(accounts.join("prod.sealed")).unwrap(), sealed, "the old record was touched");
    prlimit(pid, Resource::Fsize, unlimited).unwrap();
    eventually(SOON, "everything is on disk", || daemon.account("prod").persistence == Persistence::Durable);
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, after);
    holds_the_live_token(&daemon, &issuer, "a limit on file sizes");
}

#[test]
fn a_refresh_token_outlives_the_daemon_in_the_descriptor_store_of_systemd_r11() {
    let issuer = strict(SHORT);
    let home = Home::new();
    let systemd = ServiceManager::listen(&home.path("run/notify"));
    let notify_socket = home.path("run/notify").display().to_string();
    let home = home.set("NOTIFY_SOCKET", &notify_socket);
    home.configure(&config::device_code(&issuer));
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    let before = daemon.token("prod").access_token;
    daemon.stop();
    // Neither the state directory nor the spill takes a record.
    daemon.start_with("K8=eio");
    assert_eq!(daemon.token("prod").access_token, before);
    let after = renewed(&daemon, &before);
    eventually(SOON, "systemd keeps a descriptor", || systemd.kept().len() == 1);
    assert!(systemd.kept()[0].starts_with("keyfob-prod@"), "{:?}", systemd.kept());
    daemon.kill();
    // What is written down about the renewal would do as well: so it must not be there.
    fs::remove_file(daemon.home().path("state/keyfob/accounts/prod.journal")).unwrap();
    // Whatever else systemd may hand over is none of ours.
    systemd.keep("keyfob-prod@999", tempfile());
    systemd.keep("keyfob-", tempfile());

    daemon.home().launch_by(&(systemd.handover() + "exec \"$@\"\n"));
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, after, "{}", daemon.log());
    eventually(SOON, "everything is on disk", || daemon.account("prod").persistence == Persistence::Durable);
    eventually(SOON, "systemd has nothing to keep", || systemd.kept().is_empty());
    daemon.home().launch_by("exec \"$@\"\n");
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, after);
    holds_the_live_token(&daemon, &issuer, "the descriptor store");
}

#[test]
fn an_old_store_in_place_of_a_newer_one_presents_its_refresh_token_once_r14() {
    let issuer = strict(LONG);
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let sealed = daemon.home().path("state/keyfob/accounts/prod.sealed");
    let old = fs::read(&sealed).unwrap();
    let before = daemon.token("prod").access_token;
    renewed(&daemon, &before);
    daemon.stop();
    fs::write(&sealed, old).unwrap();
    daemon.start_again();
    assert_eq!(daemon.token("prod").access_token, before);
    eventually(SOON, "a login is asked for", || asks_for_a_login(&daemon));
    daemon.restart();
    eventually(SOON, "a login is asked for again", || asks_for_a_login(&daemon));
    let ledger = issuer.ledger();
    let spent = Some(ledger.families[0].refresh_tokens[0].token.as_str());
    let presentations = ledger.requests("refresh_token");
    let presented =
        presentations.iter().filter(|request| request.parameter("refresh_token") == spent).count();
    assert_eq!(presented, 2, "once when it was good, and once from the old store");
    daemon.log_in("prod");
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

fn asks_for_a_login(daemon: &Daemon) -> bool {
    let answer = daemon.api("GET", &format!("/v1/accounts/prod/token?{MORE_LIFE}&wait=0"));
    let error = match answer.status {
        200 => answer.json::<TokenResponse>().stale,
        _ => Some(answer.json::<ErrorBody>()),
    };
    error.is_some_and(|error| error.error == ErrorCode::LoginRequired)
}

fn strict(access_lifetime: Duration) -> FakeIssuer {
    FakeIssuer::start(Settings { access_lifetime, rotation: Rotation::Strict, ..Settings::default() })
}

/// Waits until the token is another one, and returns that.
#[track_caller]
fn renewed(daemon: &Daemon, before: &str) -> String {
    found(SOON * 2, "a renewal", || {
        let token = daemon.token_with("prod", &format!("{MORE_LIFE}&wait=0")).access_token;
        (token != before).then_some(token)
    })
}

/// Returns the path of what was spilled for the account `prod`.
#[track_caller]
fn the_spilled(daemon: &Daemon) -> PathBuf {
    let spill = daemon.home().path("run/keyfob/spill");
    let directories = fs::read_dir(spill).unwrap().map(|entry| entry.unwrap().path());
    directories.last().unwrap().join("prod.sealed")
}

fn tempfile() -> std::os::fd::OwnedFd {
    tempfile::tempfile().unwrap().into()
}

/// Ends the login, by which the daemon shows which refresh token it holds: it must be the one that is in force.
#[track_caller]
fn holds_the_live_token(daemon: &Daemon, issuer: &FakeIssuer, with: &str) {
    let ledger = issuer.ledger();
    assert_eq!(ledger.replayed().len(), 0, "{with}: {}", daemon.log());
    let live = ledger.families[0].live().unwrap().token.clone();
    daemon.api("DELETE", "/v1/accounts/prod/session");
    assert!(issuer.ledger().revoked.contains(&live), "{with}: {}", daemon.log());
}
