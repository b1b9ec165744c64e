//! The real `keyfob`, as tools and people run it.

use crate::home::Home;
use crate::process::{Output, Process};

/// Runs the shim to its end.
#[track_caller]
pub fn run(home: &Home, arguments: &[&str]) -> Output {
    spawn(home, arguments).wait()
}

/// Starts the shim.
pub fn spawn(home: &Home, arguments: &[&str]) -> Process {
    home.spawn("keyfob", arguments)
}
