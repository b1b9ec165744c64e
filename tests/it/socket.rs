//! The socket: who can reach it, whose it is, and how systemd hands it over.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http::{self, Request};
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::programs;
use rustix::process::Signal;

/// Clients that stall at once.
const STALLED: usize = 100;

#[test]
fn only_its_owner_can_reach_the_socket() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let socket = daemon.home().socket();
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_taken_over() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    daemon.kill();
    assert!(daemon.home().socket().exists());
    daemon.start_again();
    assert_eq!(daemon.stop().status, 0);
    assert!(!daemon.home().socket().exists(), "a daemon that ends leaves no socket behind");
}

#[test]
fn a_second_daemon_ends_at_once_and_the_first_lives_on() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let output = daemon.home().spawn("keyfobd", &[]).wait();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains(&daemon.process().id().to_string()), "{}", output.stderr);
    assert_eq!(daemon.api("GET", "/healthz").status, 200);
}

#[test]
fn what_is_no_socket_of_ours_is_not_removed() {
    let issuer = FakeIssuer::start(Settings::default());
    type Obstacle = fn(&Path);
    let obstacles: [Obstacle; 3] = [
        |socket| fs::write(socket, "a file of the user's").unwrap(),
        |socket| symlink("/nowhere", socket).unwrap(),
        |socket| fs::create_dir(socket).unwrap(),
    ];
    for in_the_way in obstacles {
        let home = Home::new();
        home.configure(&config::device_code(&issuer));
        private_directory(home.socket().parent().unwrap());
        in_the_way(&home.socket());
        let output = home.spawn("keyfobd", &[]).wait();
        assert_eq!(output.status, 1, "{}", output.stderr);
        assert!(output.stderr.contains("keyfob.sock"), "{}", output.stderr);
        assert!(fs::symlink_metadata(home.socket()).is_ok());
    }
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    let directory = home.path("run/keyfob");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let output = home.spawn("keyfobd", &[]).wait();
    assert_eq!(output.status, 1, "{}", output.stderr);
    assert!(output.stderr.contains("chmod 700"), "{}", output.stderr);
}

#[test]
fn stalled_clients_disturb_nobody() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let stalled: Vec<UnixStream> = (0..STALLED)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.home().socket()).unwrap();
            stream.write_all(b"GET /v1/accounts/prod/tok").unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(daemon.shim(&["token"]).status, 0);
    }
    drop(stalled);
}

#[test]
fn what_is_not_http_gets_no_token_and_does_no_harm() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    daemon.log_in("prod");
    let endless = "a".repeat(1024 * 1024);
    for nonsense in ["\r\n\r\n", "\0\0\0\0\0\0\0\0", "GET / HTTP/9.9\r\n\r\n", &format!("GET /{endless}")] {
        let mut stream = UnixStream::connect(daemon.home().socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // The daemon may have hung up before it has read everything.
        drop(stream.write_all(nonsense.as_bytes()));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(!String::from_utf8_lossy(&answer).contains("CANARY"));
    }
    assert_eq!(daemon.api("GET", "/healthz").status, 200);
}

#[test]
fn systemd_is_told_when_the_daemon_is_ready_and_when_it_stops() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    let notify = home.path("run/notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let home = home.set("NOTIFY_SOCKET", notify.to_str().unwrap());
    home.configure(&config::device_code(&issuer));
    let mut daemon = Daemon::start_in(home);
    heard(&systemd, "READY=1");
    daemon.signal(Signal::HUP);
    heard(&systemd, "RELOADING=1");
    heard(&systemd, "READY=1");
    daemon.signal(Signal::TERM);
    heard(&systemd, "STOPPING=1");
    assert_eq!(daemon.wait().status, 0);
}

#[test]
fn a_socket_that_systemd_hands_over_is_served_and_left_in_place() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    let socket = home.path("run/handed-over.sock");
    let mut activated = home.spawn_command(activator(&home, &socket));
    let request = Request { method: "GET", path: "/healthz", headers: &[], body: "" };
    eventually(SOON, "the daemon answers on a socket that it did not make", || {
        assert_eq!(activated.ended(), None);
        http::over_socket(&socket, &request).is_ok_and(|answer| answer.status == 200)
    });
    assert!(!home.socket().exists(), "it made a socket of its own");
    activated.signal(Signal::TERM);
    let output = activated.wait();
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(socket.exists(), "it removed a socket that is not its own");
}

#[test]
fn a_socket_that_was_meant_for_another_process_is_not_taken() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new().set("LISTEN_FDS", "1").set("LISTEN_PID", "1");
    home.configure(&config::device_code(&issuer));
    let daemon = Daemon::start_in(home);
    assert!(daemon.home().socket().exists());
}

#[test]
fn a_shim_does_not_take_a_stranger_for_the_daemon() {
    let home = Home::new();
    home.configure("");
    private_directory(&home.path("run/keyfob"));
    let stranger = UnixListener::bind(home.socket()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = stranger.accept().unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nnonsense").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            drop(client.read_to_end(&mut Vec::new()));
        });
        let output = home.spawn("keyfob", &["token", "--no-autostart"]).wait();
        assert_eq!((output.status, output.stdout.as_str()), (4, ""), "{output:?}");
    });
}

/// Returns what hands a listening socket to keyfobd as systemd does: the tool that comes with it, or the same in Python.
fn activator(home: &Home, socket: &Path) -> Command {
    let keyfobd = programs::directory().join("keyfobd");
    let is_there = |tool: &str| home.command(tool).arg("--version").output().is_ok();
    if is_there("systemd-socket-activate") {
        let mut command = home.command("systemd-socket-activate");
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "KEYFOB_LOG"] {
            command.args(["-E", name]);
        }
        command.arg("-l").arg(socket).arg(keyfobd);
        command
    } else {
        let mut command = home.command("python3");
        command.arg("-c").arg(ACTIVATE).arg(socket).arg(keyfobd);
        command
    }
}

const ACTIVATE: &str = "
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(16)
os.dup2(listener.fileno(), 3, inheritable=True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

/// Waits for a notification with this line, past others.
#[track_caller]
fn heard(systemd: &UnixDatagram, line: &str) {
    eventually(SOON, line, || {
        let mut message = [0; 4096];
        systemd.recv(&mut message).is_ok_and(|length| {
            let message = String::from_utf8_lossy(&message[..length]);
            message.lines().any(|said| said == line)
        })
    });
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn private_directory(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}
