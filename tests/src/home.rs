//! A home directory of its own for one story, and programs that run in it with an environment of their own.
//!
//! Only `PATH` comes from outside: neither the user's configuration, nor their keyring, nor their running daemon can
//! get into a story, and no story can get at them.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::http::{self, Request, Response};
use crate::plain_user::PlainUser;
use crate::process::Process;
use crate::programs;

/// What starts the daemon, below a home, where a story wants that to be something else than the daemon itself.
const LAUNCHER: &str = "launcher.sh";

/// A home directory that ends with this value.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    /// What programs get beside the base directories.
    extra: Vec<(String, String)>,
    /// Who lives here, where that is not who runs the stories.
    user: Option<PlainUser>,
    runs: AtomicUsize,
}

impl Home {
    /// Makes an empty home.
    pub fn new() -> Self {
        Self::furnished(Self::directory().tempdir().expect("a temporary directory"), None)
    }

    /// Makes an empty home below a directory.
    pub fn new_in(parent: &Path) -> Self {
        Self::furnished(Self::directory().tempdir_in(parent).expect("a temporary directory"), None)
    }

    /// Makes an empty home for a plain user, who owns everything in it: its programs run as that user, and so does
    /// [`Home::ask`].
    pub fn of(user: PlainUser) -> Self {
        Self::furnished(Self::directory().tempdir().expect("a temporary directory"), Some(user))
    }

    /// Returns what makes a directory with a short name: the socket's path must fit into 107 bytes.
    fn directory() -> tempfile::Builder<'static, 'static> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("kf-");
        builder
    }

    fn furnished(directory: TempDir, user: Option<PlainUser>) -> Self {
        let home = Self { directory, extra: Vec::new(), user, runs: AtomicUsize::new(0) };
        for private in ["config", "state", "run", "runs", "config/keyfob"] {
            fs::DirBuilder::new().mode(0o700).create(home.path(private)).expect("an empty home");
            home.hand_over(&home.path(private));
        }
        home.hand_over(home.directory.path());
        home.set("KEYFOB_LOG", "trace")
    }

    /// Gives a path to who lives here.
    fn hand_over(&self, path: &Path) {
        if let Some(user) = self.user {
            user.own(path);
        }
    }

    /// Adds a variable to the environment of every program that runs in this home from now on.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns a path below this home.
    pub fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// Returns the path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.path("config/keyfob/config.toml")
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/keyfob/keyfob.sock")
    }

    /// Writes the configuration, which only its owner can change.
    pub fn configure(&self, config: &str) {
        self.write("config/keyfob/config.toml", config, 0o600);
    }

    /// Writes a file below this home, and returns its path.
    pub fn write(&self, below: &str, contents: &str, mode: u32) -> PathBuf {
        let path = self.path(below);
        fs::write(&path, contents).expect("a file below the home can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
        self.hand_over(&path);
        path
    }

    /// Returns a command whose environment is that of this home.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.bare_command(program);
        if let Some(user) = self.user {
            user.run(&mut command);
        }
        command
    }

    fn bare_command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .current_dir(self.directory.path());
        if let Some(path) = programs::search_path() {
            command.env("PATH", path);
        }
        command.envs(self.extra.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Sends a request to the socket as who lives here, and nobody else, as the daemon wants it.
    ///
    /// # Errors
    /// Fails where no whole response arrives.
    pub fn ask(&self, request: &Request) -> io::Result<Response> {
        let ask = || http::over_socket(&self.socket(), request);
        self.user.map_or_else(ask, |user| user.act(ask))
    }

    /// Lets the daemon be started by these lines for `sh` from now on, in place of what earlier ones said. Its own command
    /// line is in `"$@"`, which the last of them has to `exec`.
    pub fn launch_by(&self, lines: &str) {
        self.write(LAUNCHER, lines, 0o600);
    }

    /// Starts one of our own programs.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Process {
        let path = programs::directory().join(program);
        let mut command = if program == "keyfobd" { self.daemon(&path) } else { self.command(path) };
        command.args(arguments);
        self.spawn_command(command)
    }

    /// Returns the command that starts a daemon in this home.
    pub(crate) fn daemon(&self, program: &Path) -> Command {
        let launcher = self.path(LAUNCHER);
        if !launcher.exists() {
            return self.command(program);
        }
        let Some(user) = self.user else {
            let mut command = self.command("sh");
            command.arg(launcher).arg(program);
            return command;
        };
        // As systemd's manager does: with our privileges it gets everything ready, and drops them for the daemon alone.
        let mut command = self.bare_command("sh");
        command.arg(launcher).args(user.demotion()).arg(program);
        command
    }

    /// Starts a command; what it writes goes into files, so that it never waits for a reader.
    pub fn spawn_command(&self, command: Command) -> Process {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Process::start(command, self.path(&format!("runs/{run}.out")), self.path(&format!("runs/{run}.err")))
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}
