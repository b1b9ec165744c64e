//! flytekit's own way: a session in the desktop's keyring, looked up by Python.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use integration_tests::companion::installed;
use integration_tests::keyring::Keyring;

use crate::contender::Contender;
use crate::figures::Times;

/// Look-ups within one program.
const LOOKUPS: &str = "500";

/// A keyring that holds a session of flytekit.
pub(crate) struct Flytekit {
    keyring: Keyring,
    python: PathBuf,
}

impl Flytekit {
    /// Starts a keyring and puts a session into it, where flytekit is installed.
    pub(crate) fn start() -> Option<Self> {
        let python = installed("venv/bin/python");
        if !python.exists() {
            return None;
        }
        let flytekit = Self { keyring: Keyring::unlocked(), python };
        let stored = flytekit.command("store").status().unwrap();
        assert!(stored.success(), "flytekit stores a session: {stored}");
        Some(flytekit)
    }

    /// Returns a program that starts, looks its token up, and ends.
    pub(crate) fn program(&self) -> Contender {
        Contender::new(
            "a Python program with flytekit's look-up in its keyring",
            &self.python,
            &[SCRIPT, "once"],
        )
        .with("DBUS_SESSION_BUS_ADDRESS", self.keyring.bus_address().as_ref())
    }

    /// Returns how long each look-up takes in a program that runs.
    pub(crate) fn lookups(&self) -> Times {
        let said = self.command("time").arg(LOOKUPS).stderr(Stdio::inherit()).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        // Python's libraries may say something of their own.
        let times = said.lines().filter_map(|line| line.strip_prefix("microseconds "));
        Times::new(times.map(|time| time.parse().unwrap()).collect())
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args([SCRIPT, action]).env("DBUS_SESSION_BUS_ADDRESS", self.keyring.bus_address());
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/measure/rivals/flytekit_lookup.py");
