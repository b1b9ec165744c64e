//! What systemd is told of the daemon, and that it is told that the daemon lives only while clients are served.

use std::fs;
use std::time::Duration;

use integration_tests::config;
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::fault::{Endpoint, Point};
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually, now};
use integration_tests::programs;
use integration_tests::service_manager::ServiceManager;
use keyfob_protocol::daemon::Version;
use keyfob_protocol::error::ErrorCode;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// How long the manager waits for a word.
const INTERVAL: Duration = Duration::from_secs(1);

/// A token of it is renewed within a few seconds, whether somebody asks or not.
const LIFETIME: Duration = Duration::from_secs(24);

#[test]
fn a_daemon_that_serves_says_so_within_every_interval_o2() {
    let (_issuer, manager, home) = watched();
    let _daemon = Daemon::start_in(home);
    eventually(SOON, "five pings", || manager.pings() >= 5);
}

#[test]
fn a_daemon_that_nobody_watches_says_nothing_o2() {
    let (_issuer, manager, home) = watched();
    let home = home.set("WATCHDOG_PID", "1");
    let mut daemon = Daemon::start_in(home);
    falls_silent(&manager);
    assert_eq!(manager.pings(), 0);
    assert_eq!(daemon.stop().status, 0);
}

#[test]
fn a_daemon_whose_tasks_do_not_get_on_is_not_said_to_live_o2() {
    hangs_at("K0=hang");
}

#[test]
fn a_daemon_whose_store_does_not_answer_is_not_said_to_live_o2() {
    hangs_at("K8=hang");
}

#[test]
fn a_daemon_that_accepts_nobody_is_not_said_to_live_until_it_does_o2() {
    let (_issuer, manager, home) = watched();
    let daemon = Daemon::start_in(home);
    eventually(SOON, "a ping", || manager.pings() > 0);
    // Without a descriptor to spare nobody can be accepted. What is open stays open.
    let pid = Pid::from_raw(i32::try_from(daemon.process().id()).unwrap());
    let limit = getrlimit(Resource::Nofile);
    let nothing = Rlimit { current: Some(3), ..limit };
    prlimit(pid, Resource::Nofile, nothing).unwrap();
    falls_silent(&manager);
    let silent = manager.pings();
    prlimit(pid, Resource::Nofile, limit).unwrap();
    eventually(SOON, "it lives again", || manager.pings() > silent);
}

#[test]
fn a_daemon_in_the_place_of_whose_socket_is_something_else_is_not_said_to_live_o2() {
    let (_issuer, manager, home) = watched();
    let daemon = Daemon::start_in(home);
    eventually(SOON, "a ping", || manager.pings() > 0);
    // Were it only gone, the daemon would put it back.
    let file = daemon.home().write("run/keyfob/file", "", 0o600);
    fs::rename(file, daemon.home().socket()).unwrap();
    falls_silent(&manager);
    assert!(daemon.log().contains("systemd is not told that we live"), "{}", daemon.log());
}

#[test]
fn systemd_hears_of_the_start_of_a_reload_and_of_the_end_in_this_order_o3() {
    let (_issuer, manager, home) = told();
    let mut daemon = Daemon::start_in(home);
    daemon.signal(Signal::HUP);
    eventually(SOON, "the reload", || manager.told().len() == 3);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().status, 0);
    eventually(SOON, "the end", || manager.told().len() == 4);
    let told = manager.told();
    let (since, rest) = told[1].split_once("MONOTONIC_USEC=").unwrap();
    assert!(since.ends_with('\n') && rest.trim_end().parse::<u64>().is_ok(), "{told:?}");
    let ready = "READY=1\nSTATUS=1 account\n";
    assert_eq!([&told[0], since, &told[2], &told[3]], [ready, "RELOADING=1\n", ready, "STOPPING=1\n"]);
}

#[test]
fn a_stop_asks_for_more_time_where_a_renewal_is_under_way_o3() {
    let (issuer, manager, home) = told();
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    issuer.hold(Endpoint::Token, Point::BeforeCommit);
    eventually(SOON, "a renewal", || {
        daemon.token_with("prod", &format!("{MORE_LIFE}&wait=0"));
        issuer.held() == 1
    });
    daemon.signal(Signal::TERM);
    eventually(SOON, "the end begins", || manager.told().iter().any(|told| told.contains("STOPPING=1")));
    issuer.release();
    assert_eq!(daemon.wait().status, 0);
    let status = "STATUS=a renewal that is under way may finish\n";
    let last = format!("STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000\n{status}");
    assert_eq!(manager.told().last(), Some(&last));
}

#[test]
fn a_reload_of_a_configuration_with_a_mistake_changes_nothing_and_names_it_o5() {
    let (issuer, manager, home) = told();
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    daemon.home().configure(&config::device_code(&issuer).replace("device_code", "device_cod"));
    daemon.signal(Signal::HUP);
    eventually(SOON, "the reload", || manager.told().len() == 3);
    assert!(manager.told()[2].starts_with("READY=1\n"), "systemd waits for the end of the reload");
    for words in ["the old configuration stays in force", "accounts.prod.grant", "did you mean"] {
        eventually(SOON, words, || daemon.log().contains(words));
    }
    assert_eq!(daemon.token("prod").access_token, token);
    // Whoever asks over the socket is told as well.
    let refused = daemon.reload();
    assert_eq!(refused.status, ErrorCode::Misconfigured.status());
    assert!(refused.body.contains("accounts.prod.grant"), "{refused:?}");
    assert_eq!(daemon.api("GET", "/v1/version").json::<Version>().pid, daemon.process().id());
    assert_eq!(daemon.stop().status, 0);
}

/// Lets a daemon hang at a point of its next renewal, and waits until it does not say any more that it lives.
#[track_caller]
fn hangs_at(point: &str) {
    // It may have to be built, which takes longer than a token lives.
    programs::with_failpoints();
    let (_issuer, manager, home) = watched();
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    daemon.stop();
    let before = manager.pings();
    daemon.start_with(point);
    eventually(SOON, "a ping", || manager.pings() > before);
    falls_silent(&manager);
    daemon.kill();
}

/// Waits until nothing was heard for three intervals.
#[track_caller]
fn falls_silent(manager: &ServiceManager) {
    let (mut heard, mut since) = (manager.pings(), now());
    eventually(SOON * 2, "silence", || {
        if manager.pings() > heard {
            (heard, since) = (manager.pings(), now());
        }
        since.elapsed() > INTERVAL * 3
    });
}

/// Returns a home with an account, whose daemon tells a manager what becomes of it.
fn told() -> (FakeIssuer, ServiceManager, Home) {
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, ..Settings::default() });
    let home = Home::new();
    let socket = home.path("run/notify");
    let manager = ServiceManager::listen(&socket);
    let home = home.set("NOTIFY_SOCKET", &socket.display().to_string());
    home.configure(&config::device_code(&issuer));
    (issuer, manager, home)
}

/// Returns the same with a manager that watches.
fn watched() -> (FakeIssuer, ServiceManager, Home) {
    let (issuer, manager, home) = told();
    let home = home.set("WATCHDOG_USEC", &INTERVAL.as_micros().to_string());
    (issuer, manager, home)
}
