//! git's credential cache: a daemon that holds passwords, and a helper that asks it over a Unix socket.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::contender::Contender;

/// What git asks it.
const QUESTION: &str = "protocol=https\nhost=example.com\n\n";

/// A cache that holds a password.
pub(crate) struct GitCache {
    helper: PathBuf,
    home: TempDir,
}

impl GitCache {
    /// Puts a password in, where git has such a helper.
    pub(crate) fn start() -> Option<Self> {
        let said = Command::new("git").arg("--exec-path").output().ok()?;
        let directory = PathBuf::from(String::from_utf8(said.stdout).ok()?.trim());
        let helper = directory.join("git-credential-cache");
        if !helper.exists() {
            return None;
        }
        let cache = Self { helper, home: tempfile::tempdir().unwrap() };
        let password = format!(
            "{}username=me\npassword={}\n\n",
            QUESTION.trim_end_matches('\n').to_owned() + "\n",
            "x".repeat(64)
        );
        cache.run("store", &password);
        Some(cache)
    }

    /// Returns the look-up for the race.
    pub(crate) fn get(&self) -> Contender {
        Contender::new("git credential-cache get", &self.helper, &["get"])
            .with("HOME", self.home.path())
            .with("PATH", self.helper.parent().unwrap())
            .reading(QUESTION)
    }

    fn run(&self, action: &str, input: &str) {
        let mut child = Command::new(&self.helper)
            .arg(action)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", self.helper.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "git credential-cache {action}");
    }
}

impl Drop for GitCache {
    fn drop(&mut self) {
        self.run("exit", "");
    }
}
