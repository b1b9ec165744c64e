//! `keyfob setup systemd`: what it writes, what it has systemd do, and the way back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::process::Output;
use integration_tests::programs;
use integration_tests::shim;
use integration_tests::user_manager::UserManager;

/// Where the units are, below a home.
const UNITS: &str = "config/systemd/user";

/// Notes what it is asked to do, and knows what it has enabled.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >>"$HOME/asked"
case "$2" in
enable) touch "$HOME/enabled" ;;
disable) rm -f "$HOME/enabled" ;;
is-active) [ -e "$HOME/enabled" ] ;;
esac
"#;

#[test]
fn both_units_are_written_and_the_socket_is_enabled_once() {
    let home = with_systemctl(SYSTEMCTL);
    let output = setup(&home, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stdout.contains("+ExecStart="), "what is written is shown: {}", output.stdout);
    let daemon = programs::directory().join("keyfobd").display().to_string();
    assert!(service(&home).contains(&format!("ExecStart={daemon}\n")), "{}", service(&home));
    let state = home.path("state/keyfob");
    assert!(service(&home).contains(&format!("ReadWritePaths=-{}\n", state.display())), "{}", service(&home));
    assert!(service(&home).contains(&format!("XDG_STATE_HOME={}\n", home.path("state").display())));
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    let orders = [
        "--user show --property=Version",
        "--user daemon-reload",
        "--user is-active --quiet keyfobd.socket",
        "--user enable --now keyfobd.socket",
    ];
    assert_eq!(asked(&home), orders);
    verify(&home);

    let written = service(&home);
    let again = setup(&home, &[]);
    assert!(again.stdout.contains("nothing to change") && again.status == 0, "{again:?}");
    assert_eq!(service(&home), written);
    assert!(!asked(&home).iter().any(|order| order.contains("restart")), "{:?}", asked(&home));
}

#[test]
fn a_dry_run_shows_and_touches_nothing() {
    let home = with_systemctl(SYSTEMCTL);
    let output = setup(&home, &["--dry-run"]);
    assert!(output.stdout.contains("+ProtectSystem=strict"), "{output:?}");
    assert!(output.stdout.ends_with("nothing was written\n"), "{output:?}");
    assert!(!home.path(UNITS).exists() && !home.path("state/keyfob").exists());
    assert_eq!(asked(&home), [""; 0]);
}

#[test]
fn an_undo_removes_the_units_and_leaves_the_tokens() {
    let home = with_systemctl(SYSTEMCTL);
    fs::create_dir_all(home.path(UNITS)).unwrap();
    let theirs = "[Socket]\nListenStream=/somewhere\n";
    home.write(&format!("{UNITS}/keyfobd.socket"), theirs, 0o644);
    assert_eq!(setup(&home, &["--no-userns"]).status, 0);
    let state = home.write("state/keyfob/token", "sealed", 0o600);
    let output = setup(&home, &["--undo"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stdout.contains("-ExecStart="), "{}", output.stdout);
    let left: Vec<_> = files(&home);
    assert_eq!(left, ["keyfobd.socket"], "what was there before is back, and nothing else");
    assert_eq!(fs::read_to_string(home.path(UNITS).join("keyfobd.socket")).unwrap(), theirs);
    assert!(state.exists());
    let orders = asked(&home);
    let disabled =
        orders.iter().position(|order| order.contains("disable --now keyfobd.socket keyfobd.service"));
    assert_eq!(orders[disabled.unwrap() + 1..], ["--user daemon-reload"]);
    assert_eq!(setup(&home, &["--undo"]).status, 0);
}

#[test]
fn where_nobody_runs_units_nothing_is_written_and_the_next_step_is_said() {
    let home = with_systemctl("#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n");
    let output = setup(&home, &[]);
    assert_eq!((output.status, output.stdout.as_str()), (7, ""), "{output:?}");
    for words in ["Failed to connect to bus", "keyfob setup systemd --no-start"] {
        assert!(output.stderr.contains(words), "{}", output.stderr);
    }
    assert!(!home.path(UNITS).exists());
    let output = setup(&home, &["--no-start"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stdout.contains("next: systemctl --user daemon-reload"), "{}", output.stdout);
    verify(&home);
}

#[test]
fn a_daemon_that_was_started_otherwise_makes_room() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = with_systemctl(SYSTEMCTL);
    home.configure(&config::device_code(&issuer));
    let mut daemon = Daemon::start_in(home);
    let output = setup(daemon.home(), &[]);
    assert_eq!(output.status, 0, "{output:?}");
    let pid = daemon.process().id();
    assert!(output.stdout.contains(&format!("keyfobd (pid {pid}) has stopped")), "{}", output.stdout);
    assert_eq!(daemon.wait().status, 0);
}

#[test]
fn under_a_real_manager_it_is_installed_serves_and_is_taken_back() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    let manager = UserManager::start(&home);
    let told = manager.run(".local/bin/keyfob", &["setup", "systemd"]);
    let pid = manager.property("keyfobd.service", "MainPID");
    assert!(told.contains(&format!("keyfobd (pid {pid}) answers")), "{told}\n{}", manager.log());
    assert_eq!(manager.systemctl(&["is-enabled", "keyfobd.socket"]), "enabled\n");
    let daemon = Daemon::run_by_another(home);
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    // What it was given is what is in force: the second time nothing is started anew.
    assert!(manager.run(".local/bin/keyfob", &["setup", "systemd"]).contains("nothing to change"));
    assert_eq!(manager.property("keyfobd.service", "MainPID"), pid);
    let told = manager.run(".local/bin/keyfob", &["setup", "systemd", "--undo"]);
    assert!(told.contains("systemd does not start keyfobd any more"), "{told}");
    assert!(daemon.try_api("GET", "/healthz").is_none());
    // The next command starts one of its own, with the same tokens.
    assert_eq!(manager.run(".local/bin/keyfob", &["token"]).trim_end(), token);
    manager.run(".local/bin/keyfob", &["stop"]);
}

/// Returns a home with a `systemctl` that comes first.
fn with_systemctl(script: &str) -> Home {
    let home = Home::new();
    fs::create_dir(home.path("bin")).unwrap();
    home.write("bin/systemctl", script, 0o700);
    let path = home.path("bin").display().to_string() + ":/usr/bin:/bin";
    home.set("PATH", &path)
}

#[track_caller]
fn setup(home: &Home, options: &[&str]) -> Output {
    shim::run(home, &[&["setup", "systemd"], options].concat())
}

fn service(home: &Home) -> String {
    fs::read_to_string(home.path(UNITS).join("keyfobd.service")).unwrap()
}

/// Returns the files among the units.
fn files(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.path(UNITS)).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Returns what systemctl was asked to do.
fn asked(home: &Home) -> Vec<String> {
    let asked = fs::read_to_string(home.path("asked")).unwrap_or_default();
    asked.lines().map(str::to_owned).collect()
}

/// Has systemd look at what was written.
#[track_caller]
fn verify(home: &Home) {
    let units: Vec<PathBuf> =
        ["keyfobd.service", "keyfobd.socket"].map(|unit| home.path(UNITS).join(unit)).to_vec();
    let output = home.command("systemd-analyze").args(["verify", "--user", "--man=no"]).args(units).output();
    let output = output.expect("systemd is installed");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
