//! The socket: where it is, who can reach it, and that it stays there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http::Request;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::plain_user::PlainUser;
use integration_tests::process::Process;
use integration_tests::shim;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

/// How often two daemons are started at once.
const ROUNDS: usize = 50;

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
fn what_is_no_socket_of_ours_is_not_removed_l2() {
    let issuer = FakeIssuer::start(Settings::default());
    type Obstacle = fn(&Path);
    let obstacles: [Obstacle; 4] = [
        |socket| fs::write(socket, "a file of the user's").unwrap(),
        |socket| symlink("/nowhere", socket).unwrap(),
        |socket| fs::create_dir(socket).unwrap(),
        |socket| assert!(Command::new("mkfifo").arg(socket).status().unwrap().success()),
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
fn a_socket_that_was_removed_under_a_live_daemon_is_put_back_l3() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    let (socket, directory) = (daemon.home().socket(), daemon.home().path("run/keyfob"));
    let removals: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&socket).unwrap(),
        &|| fs::rename(&socket, daemon.home().path("run/moved")).unwrap(),
        &|| fs::remove_dir_all(&directory).unwrap(),
        &|| fs::rename(&directory, daemon.home().path("run/elsewhere")).unwrap(),
    ];
    for remove in removals {
        let before = fs::symlink_metadata(&socket).unwrap().ino();
        remove();
        eventually(SOON, "another socket", || {
            fs::symlink_metadata(&socket).is_ok_and(|found| found.ino() != before)
        });
        assert_eq!(daemon.api("GET", "/healthz").status, 200);
        assert_eq!((mode(&socket), mode(&directory)), (0o600, 0o700));
    }
    assert_eq!(daemon.stop().status, 0);
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_could_not_be_put_back_is_put_back_later_whoever_is_connected_l3() {
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start(&config::device_code(&issuer));
    let socket = daemon.home().socket();
    let mut connected = UnixStream::connect(&socket).unwrap();
    connected.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = || {
        connected.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert_ne!(connected.read(&mut [0; 512]).unwrap(), 0);
    };
    ask();
    let pid = Pid::from_raw(i32::try_from(daemon.process().id()).unwrap());
    let limit = |current| Rlimit { current: Some(current), maximum: Some(1024) };
    prlimit(pid, Resource::Nofile, limit(4)).unwrap();
    fs::remove_file(&socket).unwrap();
    eventually(SOON, "a word in the log", || daemon.log().contains("cannot be put back"));
    prlimit(pid, Resource::Nofile, limit(1024)).unwrap();
    eventually(SOON, "another socket", || {
        ask();
        socket.exists()
    });
    assert_eq!(daemon.api("GET", "/healthz").status, 200);
}

#[test]
fn what_took_the_place_of_a_socket_is_left_there_and_said_l3() {
    let issuer = FakeIssuer::start(Settings::default());
    let mut daemon = Daemon::start(&config::device_code(&issuer));
    let socket = daemon.home().socket();
    let file = daemon.home().write("run/file", "a file of the user's", 0o600);
    fs::rename(&file, &socket).unwrap();
    eventually(SOON, "a word in the log", || daemon.log().contains("cannot be put back"));
    assert!(daemon.log().contains("it is a file"), "{}", daemon.log());
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file of the user's");
    fs::remove_file(&socket).unwrap();
    eventually(SOON, "the socket", || daemon.try_api("GET", "/healthz").is_some());
    daemon.stop();
}

#[test]
fn two_that_start_at_once_over_a_leftover_never_take_the_socket_from_each_other_l3() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::new();
    home.configure(&config::device_code(&issuer));
    for _ in 0..ROUNDS {
        let mut starting = [home.spawn("keyfobd", &[]), home.spawn("keyfobd", &[])];
        let mut loser = None;
        eventually(SOON, "one of them leaves", || {
            loser = loser.take().or_else(|| starting.iter_mut().find_map(Process::ended));
            loser.is_some()
        });
        let loser = loser.unwrap();
        assert_eq!(loser.status, 0, "{}", loser.stderr);
        assert!(loser.stderr.contains("answers at"), "{}", loser.stderr);
        let health = Request { method: "GET", path: "/healthz", headers: &[], body: "" };
        assert_eq!(home.ask(&health).unwrap().status, 200);
        // What is left is a socket that nobody answers, and no file of a start that was cut short.
        for daemon in &mut starting {
            if daemon.ended().is_none() {
                daemon.signal(Signal::KILL);
                daemon.wait();
            }
        }
        assert!(home.ask(&health).is_err());
        assert_eq!(fs::read_dir(home.path("run/keyfob")).unwrap().count(), 1);
    }
}

#[test]
fn a_home_of_any_length_will_do_for_a_plain_user_l2() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = Home::of(PlainUser::one());
    home.configure(&config::device_code(&issuer));
    let socket = home.path(&format!("run/{}/{}/keyfob.sock", "a".repeat(150), "b".repeat(150)));
    let home = home.set("KEYFOB_SOCKET", socket.to_str().unwrap());
    let mut daemon = home.spawn("keyfobd", &[]);
    eventually(SOON, "the daemon answers", || {
        assert_eq!(daemon.ended(), None);
        shim::run(&home, &["status", "--no-autostart"]).status == 0
    });
    assert_eq!(shim::run(&home, &["stop"]).status, 0);
    assert_eq!(daemon.wait().status, 0);
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
