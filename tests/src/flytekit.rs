//! A program that uses Flyte through the real flytekit, in the home of a story.

use std::env;

use serde::Deserialize;

use crate::companion::{Companion, installed, source};
use crate::flyte_admin::FlyteAdmin;
use crate::flyte2_backend::Flyte2Backend;
use crate::home::Home;
use crate::programs;

/// A running program: threads that share one flytekit client and make one call after another.
#[derive(Debug)]
pub struct Flytekit {
    program: Companion,
}

/// How its calls went.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Calls {
    /// How many succeeded.
    pub calls: usize,
    /// How each of the others failed.
    pub failures: Vec<String>,
}

impl Flytekit {
    /// Starts it against a Flyte Admin; its tokens come from `keyfob token ACCOUNT`.
    ///
    /// # Panics
    /// Panics where it cannot be started.
    pub fn start(home: &Home, admin: &FlyteAdmin, account: &str, threads: usize) -> Self {
        let config = config(admin.endpoint(), "insecure: true", account);
        Self::run(home, "flytekit_client.py", &config, threads)
    }

    /// Starts one that uses Flyte 2, with coroutines for threads.
    ///
    /// # Panics
    /// Panics where it cannot be started.
    pub fn start_2(home: &Home, backend: &Flyte2Backend, account: &str, coroutines: usize) -> Self {
        let tls = format!("disableKeyring: true\n  caCertFilePath: {}", backend.authority().display());
        let config = config(backend.endpoint(), &tls, account);
        Self::run(home, "flyte2_client.py", &config, coroutines)
    }

    fn run(home: &Home, program: &str, config: &str, threads: usize) -> Self {
        let config = home.write("flyte.yaml", config, 0o600);
        let mut command = home.command(installed("venv/bin/python"));
        command.arg(source(program)).arg(config).arg(threads.to_string());
        let path = programs::search_path().unwrap_or_default();
        let directories = [programs::directory().to_owned()].into_iter().chain(env::split_paths(&path));
        command.env("PATH", env::join_paths(directories).unwrap());
        Self { program: Companion::start(&mut command) }
    }

    /// Tells it to stop, and returns how its calls went.
    pub fn stop(self) -> Calls {
        serde_json::from_value(self.program.finish()).unwrap()
    }
}

/// Returns the configuration of a client whose tokens come from keyfob.
fn config(endpoint: &str, settings: &str, account: &str) -> String {
    format!(
        "admin:\n  endpoint: dns:///{endpoint}\n  {settings}\n  authType: ExternalCommand\n  command: [keyfob, token, {account}]\n",
    )
}
