//! The socket as somebody else makes it and hands it over: what is served, and what is refused.

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

/// What is handed over, as Python lines that set `given`; what the environment says beside; and a word of the refusal.
const HOSTILE: [(&str, &str, &str); 14] = [
    ("given = [open('/dev/null')]", "", "is none"),
    ("given = []", "LISTEN_FDS=1", "is none"),
    ("given = [socket.socket()]", "", "is none"),
    ("given = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]", "", "is none"),
    ("given = [socket.socketpair()[0]]", "", "does not listen"),
    ("given = [listening('\\0keyfob-story-%d' % os.getpid())]", "", "it has no path"),
    ("given = [listening('run/s', mode=0o666)]", "", "SocketMode must be 0600"),
    ("given = [listening('run/s')]; os.unlink('run/s')", "", "nothing at its path"),
    (
        "given = [listening('/tmp/keyfob-story-%d' % os.getpid())]; os.unlink(given[0].getsockname())",
        "",
        "/tmp",
    ),
    ("given = [listening('run/s'), listening('run/t')]", "", "more than one socket"),
    ("given = [listening('run/s')]", "LISTEN_FDNAMES=a:b", "2 names for 1"),
    ("given = [listening('run/s')]", "LISTEN_FDS=many", "many"),
    ("given = [listening('run/s')]", "LISTEN_FDS=1000000000000", "1000000000000"),
    ("given = [listening('run/s')]", "LISTEN_FDS_FIRST_FD=0", "unset it"),
];

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
fn a_socket_that_was_meant_for_another_process_is_not_taken_l10() {
    let issuer = FakeIssuer::start(Settings::default());
    for pid in ["1", "", "x"] {
        let home = Home::new().set("LISTEN_FDS", "1").set("LISTEN_PID", pid);
        home.configure(&config::device_code(&issuer));
        let daemon = Daemon::start_in(home);
        assert!(daemon.home().socket().exists());
    }
    let home = Home::new().set("LISTEN_FDS", "1");
    home.configure(&config::device_code(&issuer));
    Daemon::start_in(home);
}

#[test]
fn what_is_no_socket_of_ours_alone_is_refused_with_a_reason_l10() {
    let issuer = FakeIssuer::start(Settings::default());
    for (given, said, reason) in HOSTILE {
        let home = Home::new();
        home.configure(&config::device_code(&issuer));
        let mut command = home.command("python3");
        let keyfobd = programs::directory().join("keyfobd");
        command.arg("-c").arg(HAND_OVER.replace("GIVEN", given)).arg(said).arg(keyfobd);
        let output = home.spawn_command(command).wait();
        assert_eq!(output.status, 1, "{given} {said}: {}", output.stderr);
        let refusal = output.stderr.lines().last().unwrap_or_default();
        assert!(refusal.starts_with("keyfobd: ") && refusal.contains(reason), "{given} {said}: {refusal}");
        assert!(!home.socket().exists(), "{given} {said}: it made a socket of its own");
    }
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

/// Hands over whatever there is.
const HAND_OVER: &str = "
import os, socket, sys
os.umask(0o077)
def listening(path, mode=0o600):
    made = socket.socket(socket.AF_UNIX)
    made.bind(path if path.startswith(chr(0)) else os.path.abspath(path))
    if not path.startswith(chr(0)):
        os.chmod(path, mode)
    made.listen(16)
    return made
GIVEN
os.environ.update(LISTEN_FDS=str(len(given)), LISTEN_PID=str(os.getpid()))
os.environ.update(said.split('=') for said in sys.argv[1:2] if said)
for number, one in enumerate(given):
    os.dup2(one.fileno(), 100 + number)
for number, one in enumerate(given):
    os.dup2(100 + number, 3 + number, inheritable=True)
os.execv(sys.argv[2], sys.argv[2:])
";
