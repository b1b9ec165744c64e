//! Arguments to a request, an answer to an exit code.
//!
//! The only reader of the environment.

// runtime.rs has the system's way in.
#![cfg_attr(not(test), no_main)]

mod answer;
mod arguments;
mod autostart;
mod browser;
mod client;
mod clock;
mod confirm;
mod connection;
mod control;
mod display;
mod environment;
mod failure;
mod hardening;
mod help;
mod lock;
mod login;
mod output;
mod passphrase;
mod paste;
mod process;
mod prompt;
mod qr;
mod runtime;
mod screen;
mod session;
mod setup;
mod status;
mod token;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use keyfob_protocol::paths::{NoHome, Paths};

use crate::arguments::{Command, Start};
use crate::autostart::Autostart;
use crate::client::Client;
use crate::environment::{Environment, Person};
use crate::failure::Failure;
use crate::output::Output;
use crate::setup::surroundings::Surroundings;

/// Does what the arguments say, and returns the exit code.
fn run(arguments: &[OsString]) -> u8 {
    hardening::silence_panics();
    let environment = environment();
    let outcome = arguments::parse(arguments, environment.account.as_deref())
        .map_err(Failure::from)
        .and_then(|command| obey(command, &environment));
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            report(&failure);
            failure.code()
        }
    }
}

fn obey(command: Command, environment: &Environment) -> Result<(), Failure> {
    let client = |start| {
        let allowed = start == Start::IfNeeded && !environment.forbids_autostart();
        let autostart = if allowed { Autostart::Once(environment.daemon.clone()) } else { Autostart::Never };
        Client::find(environment, autostart)
    };
    match command {
        Command::Token(options, start) => token::run(&options, &client(start)?, &mut Output),
        Command::Login(options, start) => login::run(options, &client(start)?, &person()),
        Command::Logout(account, start) => print(&session::log_out(&account, &client(start)?)?),
        Command::Status(options, start) => print(&status::report(&options, &client(start)?, &person())?),
        Command::Confirm(options) => print(&confirm::run(&options, &client(Start::Never)?)?),
        Command::Setup(options) => print(&setup::run(&options, &surroundings()?, &client(Start::IfNeeded)?)?),
        Command::Lock(passphrase, start) => print(&lock::lock(passphrase, &client(start)?)?),
        Command::Unlock(source) => print(&lock::unlock(source, &client(Start::Never)?)?),
        Command::Reload => print(&control::reload(&client(Start::Never)?)?),
        Command::Stop => print(&control::stop(&client(Start::Never)?)?),
        Command::Help(verb) => print(help::page(verb)),
        Command::Version => print(concat!("keyfob ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// Reads a variable.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn environment() -> Environment {
    Environment {
        socket: variable("KEYFOB_SOCKET"),
        account: variable("KEYFOB_ACCOUNT"),
        daemon: variable("KEYFOB_DAEMON"),
        no_autostart: variable("KEYFOB_NO_AUTOSTART"),
    }
}

fn person() -> Person {
    Person {
        config: variable("KEYFOB_CONFIG"),
        no_color: variable("NO_COLOR"),
        browser: variable("BROWSER"),
        has_display: variable("DISPLAY").or_else(|| variable("WAYLAND_DISPLAY")).is_some(),
        is_ssh: variable("SSH_CONNECTION").or_else(|| variable("SSH_TTY")).is_some(),
        term: variable("TERM"),
    }
}

/// Looks at the machine for a setup, which other programs' variables decide, too.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
fn surroundings() -> Result<Surroundings, Failure> {
    let paths = Paths::find(variable("KEYFOB_CONFIG"))?;
    let home = variable("HOME").ok_or(NoHome)?;
    let directory = std::env::current_dir()
        .map_err(|source| setup::error::Error::Unreadable { path: ".".into(), source })?;
    Ok(Surroundings {
        variables: std::env::vars_os().collect(),
        home: home.into(),
        keyfob: std::env::current_exe().ok(),
        config: directory.join(paths.config),
        directory,
    })
}

/// Prints what a person asked for. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match Output.write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says why it failed.
fn report(failure: &Failure) {
    let mut text = format!("keyfob: {}\n", failure.line(clock::now()));
    for detail in failure.details() {
        text.push_str(&format!("  {detail}\n"));
    }
    // Where standard error is closed, the exit code says it alone.
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}
