//! Programs that race from start to exit.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use integration_tests::patience::now;

/// A program in the race.
pub(crate) struct Contender {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
}

/// Times in microseconds, in order.
pub(crate) struct Times(Vec<u128>);

impl Times {
    pub(crate) fn new(mut times: Vec<u128>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Returns a percentile.
    pub(crate) fn at(&self, percent: usize) -> u128 {
        self.0.get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1))).copied().unwrap_or(0)
    }
}

impl Contender {
    pub(crate) fn new(name: &'static str, program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { name, program: program.as_ref().to_owned(), arguments, environment: Vec::new() }
    }

    /// Adds a path to the program's environment, which is empty otherwise.
    pub(crate) fn with(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn run(&self) -> u128 {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = now();
        let status = command.status().unwrap();
        let time = start.elapsed().as_micros();
        assert!(status.success(), "{}: {status}", self.name);
        time
    }
}

/// Runs all programs by turns, so that whatever else the machine does falls on all alike.
pub(crate) fn race(contenders: &[Contender], rounds: usize) -> Vec<(&'static str, Times)> {
    for contender in contenders {
        contender.run();
    }
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for _ in 0..rounds {
        for (contender, times) in contenders.iter().zip(&mut times) {
            times.push(contender.run());
        }
    }
    contenders.iter().map(|contender| contender.name).zip(times.into_iter().map(Times::new)).collect()
}
