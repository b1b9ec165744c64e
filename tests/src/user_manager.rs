//! A real `systemd --user` for one story, in namespaces of its own: it needs no privilege, and meets nobody else's.
//!
//! The home of the story is `/home/user` in there: below `/tmp` a service with a private one would not see it. Its socket
//! is the one that the story knows. A machine that forbids such namespaces fails the story: a unit that nobody starts proves
//! nothing.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::home::Home;
use crate::patience::{SOON, eventually, found};
use crate::programs;

/// The home of the story, as the manager and its services see it.
pub const HOME: &str = "/home/user";

/// Where units are, below the home of the story.
pub const UNITS: &str = "config/systemd/user";

/// The log of the daemon, below the home of the story.
const LOG: &str = "runs/unit.log";

/// Makes a control group, so that the manager finds no process but its own to manage, and goes into namespaces.
const ENTER: &str = r#"
set -eu
mounted=$(findmnt --noheadings --types cgroup2 --output TARGET | head -n 1)
group=$mounted$(sed -n 's/^0:://p' /proc/self/cgroup)/$1
mkdir -p "$group"
echo $$ >"$group/cgroup.procs"
echo "$group"
shift
[ "$(id -u)" = 0 ] || set -- --user --map-root-user "$@"
exec unshare --mount --cgroup "$@"
"#;

/// Makes what systemd finds on a machine that it started, and runs the manager until standard input ends.
const MANAGE: &str = r#"
set -eu
home=$1
mount -t tmpfs none /run
mkdir -p /run/story /run/bin /run/user/0 /run/systemd/system /run/systemd/inaccessible/dir
chmod 700 /run/user/0
mount --bind "$home" /run/story
mount --bind "$2" /run/bin
mount -t tmpfs none /home
mkdir /home/user
mount --bind /run/story /home/user
mount --bind /run/story/run /run/user/0
mount --bind /run/story/config /home/user/.config
mount --bind /run/story/state /home/user/.local/state
mount --bind /run/bin /home/user/.local/bin
: >/run/systemd/inaccessible/reg
mkfifo /run/systemd/inaccessible/fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/run/systemd/inaccessible/sock")'
chmod 0 /run/systemd/inaccessible/*
# What is hidden below another mount confuses systemd. Without privileges nothing can be unmounted, nor is that needed.
umount --recursive /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
cd /home/user
manager=/usr/lib/systemd/systemd
[ -x "$manager" ] || manager=/lib/systemd/systemd
"$manager" --user >&2 &
manager=$!
cat
kill -s TERM "$manager"
wait "$manager"
"#;

/// All that has to be there for a manager of its own: nothing is started but what a story starts.
const TARGET: &str = "[Unit]\nRequires=basic.target\nAfter=basic.target\n";

/// Keeps what the daemon logs: there is no journal.
const DROP_IN: &str =
    "[Service]\nStandardError=append:/home/user/runs/unit.log\nEnvironment=KEYFOB_LOG=debug\n";

/// A service manager of one user. All that it runs ends with this value.
#[derive(Debug)]
pub struct UserManager {
    holder: Child,
    group: PathBuf,
    home: PathBuf,
}

impl UserManager {
    /// Starts a manager for a home, and waits until it is up.
    ///
    /// # Panics
    /// Panics where this machine forbids it.
    pub fn start(home: &Home) -> Self {
        for directory in [".config", ".local/state", ".local/bin", UNITS] {
            fs::create_dir_all(home.path(directory)).expect("a home can be furnished");
        }
        let drop_ins = format!("{UNITS}/keyfobd.service.d");
        fs::create_dir(home.path(&drop_ins)).expect("a home can be furnished");
        home.write(&format!("{drop_ins}/log.conf"), DROP_IN, 0o600);
        home.write(&format!("{UNITS}/default.target"), TARGET, 0o600);
        let directory = home.path("");
        let name = directory.file_name().expect("a home has a name");
        let mut holder = environment(&mut Command::new("sh"))
            .args(["-c", ENTER, "enter"])
            .arg(name)
            .args(["sh", "-c", MANAGE, "manage"])
            .arg(&directory)
            .arg(programs::directory())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.path("runs/manager.log")).expect("a log can be made"))
            .spawn()
            .expect("a shell is there");
        let mut group = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut group).expect("the holder can be heard");
        let manager = Self { holder, group: PathBuf::from(group.trim_end()), home: directory };
        eventually(SOON, "the manager is up", || {
            let state = manager.command("systemctl").args(["--user", "is-system-running"]).output();
            state.is_ok_and(|state| state.stdout.starts_with(b"running"))
        });
        manager
    }

    /// Puts our own units where the manager finds them.
    pub fn install(&self) {
        for unit in ["keyfobd.service", "keyfobd.socket"] {
            fs::copy(source(unit), self.home.join(UNITS).join(unit)).expect("a unit can be copied");
        }
        self.systemctl(&["daemon-reload"]);
    }

    /// Puts further lines into the service.
    pub fn amend(&self, name: &str, lines: &str) {
        let path = self.home.join(UNITS).join("keyfobd.service.d").join(name);
        fs::write(path, lines).expect("a drop-in can be written");
        self.systemctl(&["daemon-reload"]);
    }

    /// Returns a command that runs where the manager does, as a program of the same user.
    pub fn command(&self, program: &str) -> Command {
        let target = self.holder.id();
        let users = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
        // One cannot enter where one is.
        let is_foreign = users("self") != users(&target.to_string());
        let mut command = Command::new("nsenter");
        environment(&mut command)
            .args(["--preserve-credentials", "--mount", "--cgroup", "--target"])
            .arg(target.to_string())
            .args(is_foreign.then_some("--user"))
            .arg(format!("--wd=/proc/{target}/root{HOME}"))
            .arg(program);
        command
    }

    /// Runs a command to its end, and returns what it printed.
    ///
    /// # Panics
    /// Panics where it fails.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("nsenter of util-linux is there");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {complaint}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `systemctl --user`.
    #[track_caller]
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        let all: Vec<&str> = ["--user", "--no-pager"].iter().chain(arguments).copied().collect();
        self.run("systemctl", &all)
    }

    /// Returns a property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--value", "-p", name, unit]).trim_end().to_owned()
    }

    /// Returns what the daemon has logged.
    pub fn log(&self) -> String {
        let mut log = Vec::new();
        // There is none before the first start.
        drop(fs::File::open(self.home.join(LOG)).and_then(|mut file| file.read_to_end(&mut log)));
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for UserManager {
    fn drop(&mut self) {
        // The end of its input has the manager stop what it runs. A panic inside a drop would abort the tests.
        drop(self.holder.stdin.take());
        let ends = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            found(SOON, "the end of the manager", || self.holder.try_wait().ok().flatten())
        }));
        if ends.is_err() {
            drop(self.holder.kill().and_then(|()| self.holder.wait()));
        }
        drop(remove(&self.group));
    }
}

/// Returns the path of one of our own units.
pub fn source(unit: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd")).join(unit)
}

/// Gives a command the environment of a session of the manager's user.
fn environment(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("HOME", HOME)
        .env("XDG_RUNTIME_DIR", "/run/user/0")
        .env("SYSTEMD_UNIT_PATH", format!("{HOME}/.config/systemd/user:/usr/lib/systemd/user"));
    if let Some(path) = programs::search_path() {
        command.env("PATH", path);
    }
    command
}

/// Removes a control group with those below it. Their files cannot be removed, and go with them.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
