//! `keyfob` as it is run, against a daemon that is played by this program.
#![expect(clippy::unwrap_used, reason = "a test harness")]

mod autostart;
mod command_line;
mod daemon;
mod hostile;
mod login;
mod shim;
mod status;
mod stop;
mod token;
