//! Other users of the machine, on either side of the socket.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use integration_tests::config;
use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::http::Request;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::patience::{SOON, eventually};
use integration_tests::plain_user::PlainUser;
use integration_tests::process::Process;
use integration_tests::programs;
use integration_tests::shim;

/// How often another user tries.
const ATTEMPTS: usize = 20;

#[test]
fn another_user_is_not_heard_even_where_the_socket_is_open_to_all_l1() {
    let Some(other) = PlainUser::other() else { return };
    let issuer = FakeIssuer::start(Settings::default());
    let daemon = Daemon::start_in(home_of(PlainUser::one(), &issuer));
    open_to_all(daemon.home());
    for _ in 0..ATTEMPTS {
        let mut stream = other.act(|| UnixStream::connect(daemon.home().socket())).unwrap();
        // The daemon may have hung up already.
        drop(stream.write_all(b"GET /v1/accounts HTTP/1.1\r\nhost: keyfob\r\n\r\n"));
        assert_eq!(heard(&mut stream), b"", "another user was answered");
    }
    // Nor is root: a script under sudo is not the user.
    let mut root = UnixStream::connect(daemon.home().socket()).unwrap();
    assert_eq!(heard(&mut root), b"");
    assert_eq!(daemon.api("GET", "/healthz").status, 200);
    let said = || daemon.log().lines().filter(|line| line.contains("another user")).count();
    eventually(SOON, "a word in the log", || said() > 0);
    assert_eq!(said(), 1, "once in a minute: {}", daemon.log());
}

#[test]
fn a_shim_sends_nothing_to_a_server_of_another_user_l7() {
    let Some(other) = PlainUser::other() else { return };
    let user = PlainUser::one();
    type Trap = fn(&Path, PlainUser, PlainUser) -> UnixListener;
    let traps: [(&str, Trap); 4] = [
        ("another user listens there", |socket, user, other| {
            // The socket and its directory are ours, but who listens is another.
            let listener = user.act(|| UnixListener::bind(socket)).unwrap();
            other.act(|| rustix::net::listen(listener.as_fd(), 16)).unwrap();
            listener
        }),
        ("it belongs to another user", |socket, user, other| {
            let listener = user.act(|| UnixListener::bind(socket)).unwrap();
            chown(socket, Some(other.uid()), None).unwrap();
            fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
            listener
        }),
        ("its directory belongs to another user", |socket, user, other| {
            let listener = user.act(|| UnixListener::bind(socket)).unwrap();
            let directory = socket.parent().unwrap();
            chown(directory, Some(other.uid()), None).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
            listener
        }),
        ("others may write to its directory", |socket, user, _| {
            let listener = user.act(|| UnixListener::bind(socket)).unwrap();
            fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o1777)).unwrap();
            listener
        }),
    ];
    for (why, set) in traps {
        let home = Home::of(user);
        home.configure("");
        let directory = home.path("run/keyfob");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        user.own(&directory);
        let listener = set(&home.socket(), user, other);
        let output = shim::run(&home, &["token"]);
        assert_eq!((output.status, output.stdout.as_str()), (6, ""), "{why}: {output:?}");
        assert!(output.stderr.contains(why), "{why}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1);
        listener.set_nonblocking(true).unwrap();
        match listener.accept() {
            Ok((mut stream, _)) => assert_eq!(heard(&mut stream), b"", "{why}: the shim sent something"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[test]
fn in_a_namespace_that_maps_the_user_alone_the_user_is_known_and_others_are_not_l11() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = home_of(PlainUser::one(), &issuer);
    // This is what PrivateUsers=yes does.
    let daemon = within(&home, &["--user", "--map-current-user"]);
    open_to_all(&home);
    assert_eq!(shim::run(&home, &["status"]).status, 0);
    for other in [PlainUser::other()].into_iter().flatten() {
        let mut stream = other.act(|| UnixStream::connect(home.socket())).unwrap();
        drop(stream.write_all(b"GET /v1/accounts HTTP/1.1\r\nhost: keyfob\r\n\r\n"));
        assert_eq!(heard(&mut stream), b"");
        eventually(SOON, "a word in the log", || daemon.stderr().contains("65534"));
    }
}

#[test]
fn a_program_without_a_pid_here_is_answered_all_the_same_l11() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = home_of(PlainUser::one(), &issuer);
    // Whoever asks from outside of a pid namespace is process 0 in it, and so is a daemon for a shim in another one.
    let _daemon = within(&home, &["--user", "--map-current-user", "--pid", "--fork", "--kill-child"]);
    assert_eq!(shim::run(&home, &["status"]).status, 0);
    let mut command = home.command("unshare");
    let keyfob = programs::directory().join("keyfob");
    command.args(["--user", "--map-current-user", "--pid", "--fork"]).arg(keyfob).arg("status");
    let output = home.spawn_command(command).wait();
    assert_eq!(output.status, 0, "{output:?}");
}

#[test]
fn where_all_users_look_alike_nobody_is_served_l11() {
    let issuer = FakeIssuer::start(Settings::default());
    let home = home_of(PlainUser::one(), &issuer);
    let output = start_within(&home, &["--user"]).wait();
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.stderr.contains("namespace"), "{}", output.stderr);
}

fn home_of(user: PlainUser, issuer: &FakeIssuer) -> Home {
    let home = Home::of(user);
    home.configure(&config::device_code(issuer));
    home
}

/// Starts a daemon in namespaces of its own, and waits until it answers.
fn within(home: &Home, namespaces: &[&str]) -> Process {
    let mut daemon = start_within(home, namespaces);
    let health = Request { method: "GET", path: "/healthz", headers: &[], body: "" };
    eventually(SOON, "the daemon answers", || {
        assert_eq!(daemon.ended(), None);
        home.ask(&health).is_ok_and(|answer| answer.status == 200)
    });
    daemon
}

fn start_within(home: &Home, namespaces: &[&str]) -> Process {
    let mut command = home.command("unshare");
    command.args(namespaces).arg(programs::directory().join("keyfobd"));
    home.spawn_command(command)
}

/// Lets everybody connect, as far as the file system is concerned.
fn open_to_all(home: &Home) {
    for (path, mode) in
        [("", 0o711), ("run", 0o711), ("run/keyfob", 0o711), ("run/keyfob/keyfob.sock", 0o777)]
    {
        fs::set_permissions(home.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Returns what comes until the other side hangs up.
fn heard(stream: &mut UnixStream) -> Vec<u8> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => heard,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => heard,
        Err(error) => panic!("{error}"),
    }
}
