//! What a run came to: a row for the README, and the promises that it broke.

use std::process::ExitCode;

use crate::machine;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    run: String,
    amount: String,
    lost: String,
    rest: Vec<String>,
    broken: Vec<String>,
}

impl Report {
    /// Begins a report of what was run and how much of it.
    pub(crate) fn new(run: impl Into<String>, amount: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            amount: amount.into(),
            lost: "0".to_owned(),
            rest: Vec::new(),
            broken: Vec::new(),
        }
    }

    /// Says what was lost.
    #[must_use]
    pub(crate) fn lost(mut self, lost: impl Into<String>) -> Self {
        self.lost = lost.into();
        self
    }

    /// Adds a figure.
    #[must_use]
    pub(crate) fn figure(mut self, figure: impl Into<String>) -> Self {
        self.rest.push(figure.into());
        self
    }

    /// Adds a promise and whether it was kept.
    #[must_use]
    pub(crate) fn promise(mut self, kept: bool, promise: impl Into<String>) -> Self {
        if !kept {
            self.broken.push(promise.into());
        }
        self
    }

    /// Prints the row, and returns the exit code.
    pub(crate) fn print(self) -> ExitCode {
        println!("| {} | {} | {} | {} |", self.run, self.amount, self.lost, self.rest.join("; "));
        println!("on {}", machine::describe());
        for promise in &self.broken {
            println!("BROKEN: {promise}");
        }
        if self.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
