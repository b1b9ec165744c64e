//! A real gnome-keyring on a session bus of its own, in every state that a keyring can be in.
//!
//! No prompter can be started on that bus, so nothing waits for a person. The user's own keyring is never touched.

use std::io::Write;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::companion::source;

/// A keyring, or the place where one could be. Its programs are gone when this is dropped.
#[derive(Debug)]
pub struct Keyring {
    // Not below a story's home: a socket's path has 107 bytes at most.
    directory: TempDir,
}

impl Keyring {
    /// Starts a bus on which nobody offers a Secret Service.
    pub fn absent() -> Self {
        let keyring = Self { directory: tempfile::Builder::new().prefix("bus").tempdir().unwrap() };
        keyring.run("bus");
        keyring
    }

    /// Starts an unlocked keyring.
    pub fn unlocked() -> Self {
        let keyring = Self::absent();
        keyring.start();
        keyring
    }

    /// Returns the value of `DBUS_SESSION_BUS_ADDRESS` for its clients.
    pub fn bus_address(&self) -> String {
        format!("unix:path={}", self.directory.path().join("bus").display())
    }

    /// Starts the keyring unlocked, as a login with the password does.
    pub fn start(&self) {
        self.run("start");
    }

    /// Starts the keyring locked, as a login without the password does.
    pub fn start_locked(&self) {
        self.run("boot");
    }

    /// Locks the login collection.
    pub fn lock(&self) {
        self.run("lock");
    }

    /// Unlocks it without a restart, as PAM does.
    pub fn unlock(&self) {
        self.run("unlock");
    }

    /// Tells whether the login collection is locked.
    pub fn is_locked(&self) -> bool {
        match self.run("locked").trim() {
            "true" => true,
            "false" => false,
            other => panic!("neither locked nor unlocked: {other:?}"),
        }
    }

    /// Returns how many secrets the login collection has.
    pub fn secrets(&self) -> usize {
        self.run("items").trim().parse().unwrap()
    }

    /// Keeps a secret, with the attributes that every client of the Secret Service writes.
    pub fn keep(&self, service: &str, username: &str, secret: &str) {
        let mut tool = Command::new("secret-tool")
            .args(["store", "--label", "a session", "service", service, "username", username])
            .env("DBUS_SESSION_BUS_ADDRESS", self.bus_address())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        tool.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        assert!(tool.wait().unwrap().success(), "secret-tool could not keep a secret");
    }

    /// Returns a secret, if it is there.
    pub fn secret(&self, service: &str, username: &str) -> Option<String> {
        let output = self.tool("lookup", service, username).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Forgets a secret, if it is there.
    pub fn forget(&self, service: &str, username: &str) {
        // The tool says no other thing where there was none than where it failed.
        self.tool("clear", service, username).status().unwrap();
        assert_eq!(self.secret(service, username), None, "secret-tool could not forget a secret");
    }

    fn tool(&self, verb: &str, service: &str, username: &str) -> Command {
        let mut tool = Command::new("secret-tool");
        tool.args([verb, "service", service, "username", username])
            .env("DBUS_SESSION_BUS_ADDRESS", self.bus_address());
        tool
    }

    /// Lets the bus die, and the keyring with it, as when a session ends. [`Self::start`] starts both again.
    pub fn lose_the_bus(&self) {
        self.run("cut");
    }

    /// Lets the keyring die. What it keeps stays on disk, and the bus stays.
    pub fn die(&self) {
        self.run("kill");
    }

    /// Lets the keyring hang: it answers nothing until [`Self::resume`].
    pub fn hang(&self) {
        self.run("hang");
    }

    /// Ends the hanging.
    pub fn resume(&self) {
        self.run("resume");
    }

    fn run(&self, verb: &str) -> String {
        let output =
            Command::new(source("keyring.sh")).arg(verb).arg(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "keyring.sh {verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let stop = Command::new(source("keyring.sh")).arg("stop").arg(self.directory.path()).status();
        // A panic inside a drop would abort the tests.
        drop(stop);
    }
}
