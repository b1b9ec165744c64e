//! A person runs `keyfob login`, and their browser does the rest: on their desktop, or on another machine.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use integration_tests::chromium::{Chromium, Colours};
use integration_tests::config::browser;
use integration_tests::daemon::Daemon;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually, found};
use integration_tests::{http, programs, shim};
use keyfob_protocol::error::Exit;
use keyfob_protocol::login::LoginState;

/// A user who is not the one that runs the tests.
const NOBODY: u32 = 65534;

#[test]
fn on_a_desktop_one_command_and_a_real_browser_are_the_whole_login() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, ""));
    let home = daemon.home();
    let program =
        home.write("my-browser", "#!/bin/sh\nprintf '%s' \"$*\" >opened.new\nmv opened.new opened\n", 0o700);
    let mut command = home.command(programs::directory().join("keyfob"));
    command.arg("login").env("DISPLAY", ":0").env("BROWSER", program);
    let mut login = home.spawn_command(command);
    let page = found(SOON, "a page that is opened", || fs::read_to_string(home.path("opened")).ok());
    let shown = Chromium::open(&page, Colours::Light).shown();
    assert!(shown.dom.contains("You are signed in"), "{}", shown.dom);
    let output = login.wait();
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stderr.contains(&page), "the page is shown too: {output:?}");
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn a_person_whose_browser_is_elsewhere_pastes_the_address_that_it_cannot_reach() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, ""));
    let home = daemon.home();
    assert!(Command::new("mkfifo").arg(home.path("terminal")).status().unwrap().success());
    let mut command = home.command("sh");
    command.args(["-c", "exec \"$0\" login --paste <>terminal"]).arg(programs::directory().join("keyfob"));
    let mut login = home.spawn_command(command);
    let page = found(SOON, "a page to sign in at", || {
        let shown = login.shown();
        shown.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
    });
    let mut terminal = OpenOptions::new().write(true).open(home.path("terminal")).unwrap();
    writeln!(terminal, "http://127.0.0.1:1/callback?code=EVIL&state=wrong").unwrap();
    eventually(SOON, "another question for the address", || login.shown().matches("address: ").count() == 2);
    let redirect = http::get(&page).unwrap();
    writeln!(terminal, "{}", redirect.header("location").unwrap()).unwrap();
    let output = login.wait();
    assert_eq!(output.status, 0, "{output:?}");
    assert!(issuer.honours(&daemon.token("prod").access_token));
    assert_eq!(issuer.ledger().requests("authorization_code").len(), 1);
}

#[test]
fn a_port_that_another_program_holds_is_told_with_the_programs_name_8252_5() {
    let issuer = FakeIssuer::start(Settings::default());
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    let lines = format!("redirect_uri = \"http://127.0.0.1:{port}/callback\"");
    let daemon = Daemon::start(&browser(&issuer, &lines));
    let refused = shim::run(daemon.home(), &["login"]);
    assert_eq!(refused.status, Exit::Unavailable as i32, "{refused:?}");
    let holder = format!("(pid {}) holds port {port}", std::process::id());
    assert!(refused.stderr.contains(&holder) && refused.stderr.contains("end that program"), "{refused:?}");
    drop(squatter);
    let shown = Chromium::open(&daemon.begin_visit("prod"), Colours::Light).shown();
    assert!(shown.dom.contains("You are signed in"), "{}", shown.dom);
    assert!(issuer.honours(&daemon.token("prod").access_token));
}

#[test]
fn the_port_is_open_on_loopback_alone_and_only_while_a_login_waits_8252_3_a3() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, "redirect_uri = \"http://localhost/callback\""));
    assert_eq!(listening(&daemon), [""; 0], "no login waits");
    let page: url::Url = daemon.begin_visit("prod").parse().unwrap();
    let redirect_uri = page.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1;
    let port = redirect_uri.parse::<url::Url>().unwrap().port().unwrap();
    // 127.0.0.1 and ::1, as Linux writes them.
    let loopback =
        ["0100007F", "00000000000000000000000001000000"].map(|address| format!("{address}:{port:04X}"));
    let families = if TcpListener::bind("[::1]:0").is_ok() { 2 } else { 1 };
    assert_eq!(listening(&daemon), loopback[..families], "both families of localhost, and nothing else");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    daemon.api("DELETE", "/v1/accounts/prod/login");
    eventually(SOON, "the port's end", || listening(&daemon).is_empty());

    let daemon = Daemon::start(&browser(&issuer, ""));
    let answer = http::get(&daemon.begin_visit("prod")).unwrap();
    let callback: url::Url = answer.header("location").unwrap().parse().unwrap();
    assert_eq!(listening(&daemon), [format!("0100007F:{:04X}", callback.port().unwrap())]);
    http::get(callback.as_str()).unwrap();
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
    eventually(SOON, "the port's end after a login", || listening(&daemon).is_empty());
}

#[test]
fn a_callback_from_another_user_of_the_machine_is_not_heard_though_all_of_it_is_right_a2() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&browser(&issuer, ""));
    let answer = http::get(&daemon.begin_visit("prod")).unwrap();
    let callback = answer.header("location").unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}"]);
    let theirs = match curl.arg(callback).uid(NOBODY).output() {
        // Only root can be somebody else.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
        output => output.unwrap(),
    };
    assert_eq!(String::from_utf8_lossy(&theirs.stdout), "404");
    assert_eq!(issuer.ledger().token_requests.len(), 0);
    assert_eq!(http::get(callback).unwrap().status, 303);
    assert_eq!(daemon.login_outcome("prod"), LoginState::SignedIn);
}

/// Returns the addresses and ports on which the daemon listens, as Linux writes them.
fn listening(daemon: &Daemon) -> Vec<String> {
    let own: Vec<String> = fs::read_dir(format!("/proc/{}/fd", daemon.process().id()))
        .unwrap()
        .filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.to_str()?.to_owned()))
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let listens = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let socket = format!("socket:[{}]", fields.get(9)?);
        (fields.get(3) == Some(&"0A") && own.contains(&socket)).then(|| fields[1].to_owned())
    };
    tables.concat().lines().filter_map(listens).collect()
}
