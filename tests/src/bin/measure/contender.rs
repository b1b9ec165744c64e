//! Programs that race from start to exit.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use integration_tests::patience::now;

use crate::figures::Times;

/// A program in the race.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    input: Option<&'static str>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, program: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { name, program: program.as_ref().to_owned(), arguments, environment: Vec::new(), input: None }
    }

    /// Adds a path to the program's environment, which is empty otherwise.
    pub(crate) fn with(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the program something to read.
    pub(crate) fn reading(self, input: &'static str) -> Self {
        Self { input: Some(input), ..self }
    }

    /// Returns how it is started, by another program in front of it where there is one.
    pub(crate) fn command(&self, front: &[&str]) -> Command {
        let mut command = match front {
            [] => Command::new(&self.program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it once, and returns how long that took in microseconds.
    fn run(&self) -> u128 {
        let mut command = self.command(&[]);
        let start = now();
        let status = match self.input {
            None => command.status().unwrap(),
            Some(input) => {
                let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
                std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
                child.wait().unwrap()
            }
        };
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
