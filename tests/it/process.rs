//! What other programs of the user see of the daemon and of the shim: nothing. And what the daemon can do all the same,
//! run by a user without privileges, who may not look into `/proc` as root may.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use integration_tests::browser::Browser;
use integration_tests::config::{self, HEAD};
use integration_tests::daemon::{Daemon, MORE_LIFE};
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::{Client, Rotation, Settings};
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::plain_user::PlainUser;
use integration_tests::process::Output;
use integration_tests::service_manager::ServiceManager;
use integration_tests::shim;
use keyfob_protocol::account::{AccountState, Persistence};
use keyfob_protocol::login::LoginState;
use keyfob_protocol::token::TokenResponse;
use rustix::process::Signal;

/// Long enough to be renewed ahead.
const LIFETIME: Duration = Duration::from_secs(22);

const INTRUDER: &str = include_str!("../real/intruder.py");

/// How many ways in the intruder tries.
const WAYS_IN: usize = 15;

#[test]
fn no_program_of_the_same_user_gets_into_the_daemon_or_a_shim_that_has_an_answer_l4() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start_in(home(&config::device_code(&issuer)));
    daemon.log_in("prod");
    // The intruder is one that would get in.
    let control = intrusion(daemon.home(), "child");
    assert!(control.iter().all(|attempt| attempt.ends_with(": open")), "{control:#?}");

    let waiting = shim::spawn(daemon.home(), &["login", "--device"]);
    eventually(SOON, "a shim that waits", || waiting.shown().contains("http://"));
    for (who, pid) in [("keyfobd", daemon.process().id()), ("keyfob", waiting.id())] {
        let attempts = intrusion(daemon.home(), &pid.to_string());
        assert!(attempts.iter().all(|attempt| attempt.ends_with(": refused")), "{who}: {attempts:#?}");
    }
    assert_eq!(daemon.account("prod").state, AccountState::SignedIn);
}

#[test]
fn a_daemon_in_the_background_is_as_closed_as_one_in_the_foreground_l4() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = home(&config::device_code(&issuer));
    let started = home.spawn("keyfobd", &["--background"]).wait();
    assert_eq!(started.status, 0, "{started:?}");
    let pid: u32 = fs::read_to_string(home.path("state/keyfob/lock")).unwrap().trim().parse().unwrap();
    let attempts = intrusion(&home, &pid.to_string());
    shim::run(&home, &["stop"]);
    assert!(attempts.iter().all(|attempt| attempt.ends_with(": refused")), "{attempts:#?}");
}

#[test]
fn a_daemon_that_crashes_leaves_no_core_however_many_are_asked_for_l5() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = home(&config::device_code(&issuer));
    home.launch_by("ulimit -c unlimited\nexec \"$@\"\n");
    let mut daemon = Daemon::start_in(home);
    daemon.log_in("prod");
    for signal in [Signal::SEGV, Signal::ABORT, Signal::QUIT] {
        if signal == Signal::SEGV {
            // Rust's runtime looks at the first one, for it could be an overflow of the stack, and lets the next one through.
            daemon.signal(signal);
            daemon.api("GET", "/healthz");
        }
        daemon.signal(signal);
        let output = daemon.wait();
        assert_eq!(output.status, 128 + signal.as_raw(), "{output:?}");
        assert!(!output.left_a_core, "{signal:?} left a core");
        let cores = cores(&daemon.home().path(""));
        assert!(cores.is_empty(), "{signal:?}: {cores:?}");
        daemon.start_again();
    }
    // On this machine, others do.
    let other = core_of_another(daemon.home());
    assert!(other.left_a_core, "there are no cores at all here: {other:?}");
}

#[test]
fn a_secret_from_the_environment_is_there_no_more_once_it_was_read_l6() {
    let clients = vec![Client::basic("ci", "CANARY-CS")];
    let issuer = FakeIssuer::start(Settings { clients, access_lifetime: LIFETIME, ..Settings::default() });
    let home = Home::of(PlainUser::one()).set("CI_SECRET", "CANARY-CS").set("CI_OTHER", "stays");
    home.configure(&format!(
        "{}\n[accounts.ci]\nissuer = \"{}\"\nclient_id = \"ci\"\ngrant = \"client_credentials\"\n\
         client_secret = {{ env = \"CI_SECRET\" }}\ntls = {{ allow_http_loopback = true }}\n",
        HEAD.replace("prod", "ci"),
        issuer.url()
    ));
    let mut daemon = Daemon::start_in(home);
    for _ in 0..2 {
        assert!(issuer.honours(&daemon.token("ci").access_token));
        let environ = fs::read(format!("/proc/{}/environ", daemon.process().id())).unwrap();
        let environ = String::from_utf8_lossy(&environ);
        assert!(environ.contains("CI_OTHER=stays"), "it was not read: {environ}");
        assert!(!environ.contains("CANARY"), "{environ}");
        // It is known for as long as the daemon lives.
        assert_eq!(daemon.reload().status, 200);
        daemon.renew("ci");
        daemon.restart();
    }
}

#[test]
fn a_plain_user_logs_in_in_a_browser_renews_and_logs_out() {
    let user = PlainUser::one();
    let issuer = FakeIssuer::start(Settings { access_lifetime: 3 * LIFETIME, ..Settings::default() });
    let mut daemon =
        Daemon::start_in(home(&config::browser(&issuer, r#"scopes = ["all", "offline", "openid"]"#)));
    assert_eq!(fs::metadata(daemon.home().socket()).unwrap().uid(), user.uid());
    Browser::of(user).visit(&daemon.begin_visit("prod"));
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn, "{}", daemon.log());
    assert!(issuer.honours(daemon.shim(&["token"]).stdout.trim_end()));
    assert!(issuer.honours(&daemon.renew("prod").access_token));
    daemon.restart();
    assert!(issuer.honours(&daemon.token("prod").access_token));
    let output = daemon.shim(&["logout"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(issuer.ledger().revoked.len(), 1);
    assert_eq!(issuer.ledger().violations, [""; 0]);
}

#[test]
fn a_plain_users_refresh_token_outlives_the_daemon_in_the_spill_and_in_the_descriptor_store() {
    let user = PlainUser::one();
    let rotation = Rotation::Strict;
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, rotation, ..Settings::default() });
    let home = home(&config::device_code(&issuer));
    let notify_socket = home.path("run/notify");
    let systemd = ServiceManager::listen(&notify_socket);
    user.own(&notify_socket);
    let mut daemon = Daemon::start_in(home.set("NOTIFY_SOCKET", &notify_socket.display().to_string()));
    daemon.log_in("prod");
    for (failpoints, is_spilled) in [("K8=enospc:1", true), ("K8=eio", false)] {
        let before = daemon.token("prod").access_token;
        daemon.stop();
        daemon.start_with(failpoints);
        let after = found(SOON * 2, "a renewal that is not on disk", || {
            let answer = daemon.api("GET", &format!("/v1/accounts/prod/token?{MORE_LIFE}&wait=0"));
            let token = (answer.status == 200).then(|| answer.json::<TokenResponse>().access_token);
            token.filter(|token| *token != before)
        });
        if !is_spilled {
            eventually(SOON, "systemd keeps a descriptor", || !systemd.kept().is_empty());
            daemon.kill();
            fs::remove_file(daemon.home().path("state/keyfob/accounts/prod.journal")).unwrap();
            daemon.home().launch_by(&(systemd.handover() + "exec \"$@\"\n"));
            daemon.start_again();
            daemon.home().launch_by("exec \"$@\"\n");
        }
        assert_eq!(daemon.token("prod").access_token, after, "{failpoints}: {}", daemon.log());
        let is_durable = || daemon.account("prod").persistence == Persistence::Durable;
        eventually(SOON, "everything is on disk", is_durable);
    }
    assert_eq!(issuer.ledger().replayed().len(), 0);
}

/// Returns the home of a plain user with a configuration.
fn home(config: &str) -> Home {
    let home = Home::of(PlainUser::one());
    home.configure(config);
    home
}

/// Tries every way into a process, and tells how each went.
#[track_caller]
fn intrusion(home: &Home, target: &str) -> Vec<String> {
    let script = home.write("intruder.py", INTRUDER, 0o600);
    let mut command = home.command("python3");
    command.arg(script).arg(target);
    let output = home.spawn_command(command).wait();
    let attempts: Vec<_> = output.stdout.lines().map(str::to_owned).collect();
    assert_eq!(attempts.len(), WAYS_IN, "{output:?}");
    attempts
}

fn core_of_another(home: &Home) -> Output {
    let mut command = home.command("sh");
    command.args(["-c", "ulimit -c unlimited; kill -s SEGV $$"]);
    home.spawn_command(command).wait()
}

/// Returns the cores below a directory.
fn cores(below: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    found
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("core")))
        .collect()
}
