//! `keyfob setup systemd`: both units written, the socket enabled, and back.
//!
//! The thing to get wrong: a daemon that was started otherwise holds the state, and would keep the one of systemd out for
//! ever. It is stopped first. And the directory of the state must be there before the service is: what is made later stays
//! read-only inside of it.

mod manager;
mod units;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::arguments::setup::{Direction, Starting, SystemdOptions, Writing};
use crate::client::Client;
use crate::control;
use crate::failure::Failure;
use crate::setup::diff;
use crate::setup::error::Error;
use crate::setup::file::{Access, Snapshot, backup_of};
use crate::setup::shown;
use crate::setup::surroundings::Surroundings;
use crate::setup::systemd::manager::Manager;
use crate::setup::systemd::units::{SERVICE, SOCKET, Unit};

/// The mode of the directory of the state.
const PRIVATE: u32 = 0o700;

/// What keeps the user's services running without a session, by the user's name.
const LINGER: &str = "/var/lib/systemd/linger";

/// Installs the units, or takes them back, and returns what to tell.
pub(crate) fn run(
    options: &SystemdOptions,
    surroundings: &Surroundings,
    running: &Client,
) -> Result<String, Failure> {
    match options.direction {
        Direction::Setup => set_up(options, surroundings, running),
        Direction::Undo => take_back(options, surroundings),
    }
}

/// A unit as it is and as it is to be.
struct Change {
    file: Snapshot,
    text: String,
}

fn changes(options: &SystemdOptions, surroundings: &Surroundings) -> Result<Vec<Change>, Error> {
    let directory = directory(surroundings);
    let change =
        |Unit { name, text }: Unit| Ok(Change { file: Snapshot::read(&directory.join(name))?, text });
    units::all(surroundings, options.namespaces)?.into_iter().map(change).collect()
}

fn set_up(
    options: &SystemdOptions,
    surroundings: &Surroundings,
    running: &Client,
) -> Result<String, Failure> {
    let changes = changes(options, surroundings)?;
    let mut text: String = changes.iter().map(|change| shown_change(&change.file, &change.text)).collect();
    if text.is_empty() {
        text.push_str("the units are there already, so there is nothing to change\n");
    }
    if options.writing == Writing::Not {
        return Ok(text + "nothing was written\n");
    }
    // Refused before anything is written.
    let manager = match (Manager::find(), options.starting) {
        (Err(error), Starting::Now) => return Err(error.into()),
        (manager, Starting::Now | Starting::Later) => manager.ok(),
    };
    let is_new = changes.iter().any(|change| change.file.text() != change.text);
    write(&changes)?;
    let state = units::state(surroundings);
    make(&state)?;
    let Some(manager) = manager else {
        return Ok(
            text + "next: systemctl --user daemon-reload && systemctl --user enable --now keyfobd.socket\n"
        );
    };
    manager.run(&["daemon-reload"])?;
    match options.starting {
        Starting::Later => {
            manager.run(&["enable", SOCKET])?;
            text.push_str("next: systemctl --user start keyfobd.socket\n");
        }
        Starting::Now => text.push_str(&start(&manager, running, is_new)?),
    }
    Ok(text + &remarks(surroundings))
}

/// Has systemd listen, in the place of a daemon that was started otherwise.
fn start(manager: &Manager, running: &Client, is_new: bool) -> Result<String, Failure> {
    let mut text = String::new();
    let listens = manager.says_yes(&["is-active", "--quiet", SOCKET]);
    if !listens {
        let stopped = control::stop(running)?;
        // That nothing had to be stopped is no news.
        if stopped.contains("has stopped") {
            text.push_str(&stopped);
        }
    }
    manager.run(&["enable", "--now", SOCKET])?;
    if listens && is_new {
        manager.run(&["try-restart", SERVICE])?;
    }
    text.push_str("systemd listens at the socket of keyfob, and starts keyfobd when somebody asks\n");
    match control::version(running) {
        Ok(version) => text.push_str(&format!("keyfobd (pid {}) answers\n", version.pid)),
        Err(_) => text.push_str(
            "note: keyfobd does not answer yet; to see why run: systemctl --user status keyfobd; where users may not have \
             namespaces run: keyfob setup systemd --no-userns\n",
        ),
    }
    Ok(text)
}

fn take_back(options: &SystemdOptions, surroundings: &Surroundings) -> Result<String, Failure> {
    let directory = directory(surroundings);
    let present: Vec<(Snapshot, Snapshot)> = units::NAMES
        .iter()
        .map(|name| {
            let path = directory.join(name);
            Ok((Snapshot::read(&path)?, Snapshot::read(&backup_of(&path))?))
        })
        .collect::<Result<_, Error>>()?;
    let present: Vec<_> = present.into_iter().filter(|(file, _)| file.exists()).collect();
    if present.is_empty() {
        return Ok("there is nothing to undo\n".to_owned());
    }
    let mut text: String = present.iter().map(|(file, backup)| shown_change(file, backup.text())).collect();
    if options.writing == Writing::Not {
        return Ok(text + "nothing was written\n");
    }
    let manager = Manager::find().ok();
    if let Some(manager) = &manager {
        let is_ours = |name: &str| {
            let path = directory.join(name);
            present.iter().any(|(file, _)| file.path == path && units::is_ours(file.text()))
        };
        // To systemctl one that is not there is an error, and a foreign one is none of our business.
        let ours: Vec<&str> = [SOCKET, SERVICE].into_iter().filter(|name| is_ours(name)).collect();
        if !ours.is_empty() {
            manager.run(&[&["disable", "--now"], &*ours].concat())?;
        }
    }
    for (file, backup) in &present {
        if !units::is_ours(file.text()) {
            text.push_str(&format!("note: {} is none of ours, so it stays\n", shown(&file.path)));
        } else if backup.exists() {
            file.replace(backup.text())?;
            backup.remove()?;
        } else {
            file.remove()?;
        }
    }
    if let Some(manager) = &manager {
        manager.run(&["daemon-reload"])?;
    }
    text.push_str("systemd does not start keyfobd any more; the next keyfob command does\n");
    Ok(text)
}

/// Writes the units. What was there before and is none of ours is kept beside it.
fn write(changes: &[Change]) -> Result<(), Error> {
    let changes: Vec<&Change> = changes.iter().filter(|change| change.file.text() != change.text).collect();
    let staged: Vec<_> = changes
        .iter()
        .map(|change| change.file.stage(&change.text, Access::Kept))
        .collect::<Result<_, _>>()?;
    for Change { file, .. } in &changes {
        let backup = backup_of(&file.path);
        if file.exists() && !units::is_ours(file.text()) && !Snapshot::read(&backup)?.exists() {
            file.keep_as(&backup)?;
        }
    }
    staged.into_iter().try_for_each(|staged| staged.put())
}

fn make(state: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(state);
    made.map_err(|source| Error::Unwritable { path: state.to_owned(), source })
}

fn shown_change(file: &Snapshot, text: &str) -> String {
    diff::unified(&file.path, file.text(), text)
}

/// Warns of what is in the way.
fn remarks(surroundings: &Surroundings) -> String {
    let mut text = String::new();
    if surroundings.variable("KEYFOB_SOCKET").is_some() {
        text.push_str(
            "note: KEYFOB_SOCKET is set here: unset it, or keyfob looks elsewhere than systemd listens\n",
        );
    }
    let user = surroundings.variable("USER").or_else(|| surroundings.variable("LOGNAME"));
    let lingers = user.is_some_and(|user| Path::new(LINGER).join(user).exists());
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| surroundings.variable(name).is_some());
    if !lingers && !has_desktop {
        text.push_str(
            "note: it ends with your last session; to have it run without one, run: loginctl enable-linger\n",
        );
    }
    text
}

fn directory(surroundings: &Surroundings) -> PathBuf {
    units::base(surroundings, "XDG_CONFIG_HOME", ".config").join("systemd/user")
}
