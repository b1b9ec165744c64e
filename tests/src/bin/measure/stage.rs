//! What nearly every measurement plays on: an issuer, and a daemon with one account that is signed in.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use integration_tests::daemon::Daemon;
use integration_tests::home::Home;
use integration_tests::issuer::FakeIssuer;
use integration_tests::issuer::settings::Settings;
use integration_tests::{config, programs};

use crate::contender::Contender;

/// An issuer and a daemon with the account `prod`.
pub(crate) struct Stage {
    pub(crate) issuer: FakeIssuer,
    pub(crate) daemon: Daemon,
}

impl Stage {
    pub(crate) fn set(settings: Settings) -> Self {
        let issuer = FakeIssuer::start(settings);
        let home = Home::new().set("KEYFOB_LOG", "info");
        home.configure(&config::device_code(&issuer));
        let daemon = Daemon::start_in(home);
        daemon.log_in("prod");
        Self { issuer, daemon }
    }

    /// Returns the shims that are built: the static one where its target is installed, and the usual one.
    pub(crate) fn shims(&self) -> Vec<Contender> {
        let usual = programs::directory().join("keyfob");
        let fixed = programs::directory().join("../x86_64-unknown-linux-musl/shim/keyfob");
        let home = self.daemon.home();
        let all = [("keyfob token, static", fixed), ("keyfob token, dynamic", usual)];
        let there = all.into_iter().filter(|(_, program)| program.exists());
        let contender = |(name, program)| {
            Contender::new(name, program, &["token", "prod"])
                .with("XDG_RUNTIME_DIR", &home.path("run"))
                .with("HOME", &home.path(""))
        };
        there.map(contender).collect()
    }

    /// Builds the floor for this daemon's socket, where that is possible.
    pub(crate) fn floor(&self) -> Option<Contender> {
        let home = self.daemon.home();
        // The daemon looks closer at a program of this name.
        let program = home.path("floor/keyfob");
        fs::create_dir_all(home.path("floor")).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/measure/floor.c");
        let built = Command::new("cc")
            .args(["-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-o"])
            .arg(&program)
            .arg(format!("-DSOCKET_PATH=\"{}\"", home.socket().display()))
            .arg(source)
            .status();
        let is_built = built.is_ok_and(|status| status.success());
        is_built.then(|| Contender::new("floor: C without a library", program, &[]))
    }

    /// Returns where the daemon's socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.daemon.home().socket()
    }
}
