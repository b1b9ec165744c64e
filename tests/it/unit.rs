//! The systemd units: what they allow, and that keyfobd works with no more than that.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::process::Output;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use integration_tests::config::{self, HEAD};
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::programs;
use integration_tests::shim;
use integration_tests::user_manager::{HOME, UserManager, source};
use keyfob_protocol::account::Persistence;
use keyfob_protocol::token::TokenResponse;

/// The most that `systemd-analyze security` may find, in tenths.
const MOST_EXPOSED: &str = "21";

/// Short enough that a token with more life than this can be had.
const LIFETIME: Duration = Duration::from_secs(60);

#[test]
fn the_units_are_without_a_mistake_and_leave_little_exposed_o1() {
    let home = Home::new();
    fs::create_dir(home.path(".local")).unwrap();
    symlink(programs::directory(), home.path(".local/bin")).unwrap();
    for unit in ["keyfobd.service", "keyfobd.socket"] {
        let unit = source(unit).display().to_string();
        let output = analyze(&home, &["verify", "--user", "--man=no", &unit]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()), "{unit}");
    }
    let service = source("keyfobd.service").display().to_string();
    let threshold = format!("--threshold={MOST_EXPOSED}");
    let security = ["security", "--user", "--offline=yes", "--no-pager", &threshold, &service];
    let output = analyze(&home, &security);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // It can tell the difference.
    let plain = home.write("keyfobd.service", "[Service]\nExecStart=/bin/true\n", 0o600);
    let output = analyze(&home, &[&security[..5], &[&plain.display().to_string()]].concat());
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_daemon_serves_renews_and_stores_inside_of_its_unit_o1() {
    let issuer = FakeIssuer::start(Settings { access_lifetime: LIFETIME, ..Settings::default() });
    let (manager, daemon) = served(furnished(&issuer), &[]);
    daemon.log_in("prod");
    let renewed = daemon.renew("prod").access_token;
    assert_eq!(daemon.account("prod").persistence, Persistence::Durable);
    assert_eq!(manager.run(".local/bin/keyfob", &["token", "--no-autostart"]).trim_end(), renewed);

    let pid = manager.property("keyfobd.service", "MainPID");
    let status = manager.run("cat", &[&format!("/proc/{pid}/status")]);
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    let users = manager.run("cat", &[&format!("/proc/{pid}/uid_map")]);
    assert_eq!(users.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"], "more users than one");
    let mounts = manager.run("cat", &[&format!("/proc/{pid}/mounts")]);
    assert!(is_read_only(&mounts, "/home/user") && is_read_only(&mounts, "/"), "{mounts}");
    assert!(!is_read_only(&mounts, "/home/user/.local/state/keyfob"), "{mounts}");

    manager.systemctl(&["restart", "keyfobd.service"]);
    assert_eq!(daemon.token("prod").access_token, renewed, "{}", manager.log());
    assert!(!manager.log().contains("ERROR"), "{}", manager.log());
}

#[test]
fn where_users_have_no_namespaces_the_drop_in_takes_back_what_needs_one() {
    let issuer = FakeIssuer::start(Settings::default());
    let drop_in = fs::read_to_string(source("no-userns.conf")).unwrap();
    let (manager, daemon) = served(furnished(&issuer), &[("no-userns.conf", &drop_in)]);
    daemon.log_in("prod");
    let pid = manager.property("keyfobd.service", "MainPID");
    let namespace = |pid: &str, kind: &str| manager.run("readlink", &[&format!("/proc/{pid}/ns/{kind}")]);
    for kind in ["user", "mnt"] {
        assert_eq!(namespace(&pid, kind), namespace("self", kind), "it needs a namespace of its own");
    }
    let status = manager.run("cat", &[&format!("/proc/{pid}/status")]);
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn systemd_replaces_a_daemon_that_hangs_and_whoever_waited_is_answered_o2() {
    let issuer = FakeIssuer::start(Settings::default());
    let (manager, daemon) = served(furnished(&issuer), &[("watchdog.conf", "[Service]\nWatchdogSec=3\n")]);
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token;
    let pid = manager.property("keyfobd.service", "MainPID");
    manager.run("kill", &["-s", "STOP", &pid]);
    // It asks while nobody answers.
    assert_eq!(manager.run(".local/bin/keyfob", &["token", "--no-autostart"]).trim_end(), token);
    assert_eq!(manager.property("keyfobd.service", "NRestarts"), "1");
    assert_ne!(manager.property("keyfobd.service", "MainPID"), pid);
}

#[test]
fn a_reload_by_systemd_takes_over_the_configuration_o3() {
    let issuer = FakeIssuer::start(Settings::default());
    let (manager, daemon) = served(furnished(&issuer), &[]);
    manager.systemctl(&["start", "keyfobd.service"]);
    daemon.home().configure(&(config::device_code(&issuer) + &config::account("other", &issuer)));
    manager.systemctl(&["reload", "keyfobd.service"]);
    let status = || manager.property("keyfobd.service", "StatusText");
    eventually(SOON, "systemd hears of it", || status() == "2 accounts");
    assert_eq!(manager.property("keyfobd.service", "ActiveState"), "active");
    assert_eq!(daemon.account("other").name.as_str(), "other");
}

#[test]
fn an_upgrade_under_load_costs_no_client_an_error_o4() {
    let issuer = FakeIssuer::start(Settings::default());
    let (manager, daemon) = served(furnished(&issuer), &[]);
    daemon.log_in("prod");
    let token = daemon.token("prod").access_token + "\n";
    // Another file in the place of the program, as an upgrade leaves it.
    fs::copy(programs::directory().join("keyfobd"), daemon.home().path("upgraded")).unwrap();
    let clients = |count: usize| -> Vec<_> {
        (0..count).map(|_| shim::spawn(daemon.home(), &["token", "--no-autostart"])).collect()
    };
    let mut asking = clients(50);
    manager.amend("upgrade.conf", "[Service]\nExecStart=\nExecStart=%h/upgraded\n");
    let before = manager.property("keyfobd.service", "MainPID");
    manager.systemctl(&["restart", "--no-block", "keyfobd.service"]);
    asking.extend(clients(50));
    for client in &mut asking {
        let output = client.wait();
        assert_eq!((output.status, output.stdout), (0, token.clone()), "{}", output.stderr);
    }
    eventually(SOON, "the upgrade", || {
        let now = manager.property("keyfobd.service", "MainPID");
        now != before
            && now != "0"
            && manager.run("readlink", &[&format!("/proc/{now}/exe")]).contains("upgraded")
    });
    assert_eq!(daemon.token("prod").access_token + "\n", token);
}

/// Prints what is forbidden to it, and what its argument has become.
const PROGRAM: &str = r#"
[accounts.iap]
grant = "command"
command = ["sh", "-c", '''
printf 'privileges-%s-argument-%s-%s' "$(sed -n 's/^NoNewPrivs:.//p' /proc/self/status)" "$(printf %s "$1" | base64 -w 0)" "$HOME"
''', "sh", '$HOME ${HOME} $$ %h "x" \']
"#;

#[test]
fn a_program_runs_outside_of_the_unit_and_gets_its_arguments_as_they_are() {
    let issuer = FakeIssuer::start(Settings::default());
    let token = BASE64_STANDARD.encode(r#"$HOME ${HOME} $$ %h "x" \"#);
    for (choice, privileges) in [("transient", 0), ("inherit", 1)] {
        let home = furnished(&issuer);
        let text = config::device_code(&issuer) + PROGRAM;
        home.configure(&format!("sandbox_exec = \"{choice}\"\n{text}"));
        let (manager, daemon) = served(home, &[]);
        let answer = daemon.api("GET", "/v1/accounts/iap/token");
        assert_eq!(answer.status, 200, "{answer:?} {}", manager.log());
        let expected = format!("privileges-{privileges}-argument-{token}-{HOME}");
        assert_eq!(answer.json::<TokenResponse>().access_token, expected, "{choice}");
        let services = manager.systemctl(&["list-units", "--all", "--plain", "--no-legend", "run-*.service"]);
        assert_eq!(services, "", "the service of the program stays");
    }
}

#[test]
fn a_program_that_fails_outside_of_the_unit_says_why() {
    let home = Home::new();
    fs::DirBuilder::new().mode(0o700).create(home.path("state/keyfob")).unwrap();
    let fails = r#"command = ["sh", "-c", "echo the vault is locked >&2; exit 3"]"#;
    let missing = r#"command = ["no-such-program"]"#;
    let account = |name: &str, line: &str| format!("[accounts.{name}]\ngrant = \"command\"\n{line}\n");
    home.configure(&format!("{HEAD}{}{}", account("prod", fails), account("none", missing)));
    let (_manager, daemon) = served(home, &[]);
    let refused = |account: &str| daemon.api("GET", &format!("/v1/accounts/{account}/token")).body;
    assert!(refused("prod").contains("the vault is locked"), "{}", refused("prod"));
    assert!(refused("none").contains("cannot run no-such-program"), "{}", refused("none"));
}

/// Returns a home with an account, and the directory of the state, which has to be there before the unit is started.
fn furnished(issuer: &FakeIssuer) -> Home {
    let home = Home::new();
    home.configure(&config::device_code(issuer));
    fs::DirBuilder::new().mode(0o700).create(home.path("state/keyfob")).unwrap();
    home
}

/// Has systemd listen for a daemon in a home, under our units with these drop-ins.
fn served(home: Home, drop_ins: &[(&str, &str)]) -> (UserManager, Daemon) {
    let manager = UserManager::start(&home);
    manager.install();
    for (name, text) in drop_ins {
        manager.amend(name, text);
    }
    manager.systemctl(&["start", "keyfobd.socket"]);
    (manager, Daemon::run_by_another(home))
}

fn analyze(home: &Home, arguments: &[&str]) -> Output {
    home.command("systemd-analyze").args(arguments).output().expect("systemd is installed")
}

/// Tells whether nothing can be written at a mount point, the last one there.
fn is_read_only(mounts: &str, point: &str) -> bool {
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let last = fields.rfind(|fields| fields[1] == point);
    last.is_some_and(|fields| fields[3].split(',').any(|option| option == "ro"))
}
