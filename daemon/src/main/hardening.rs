//! What the process gives up before there is a secret in it.
//!
//! No core, no debugger, no other process of the same user that looks into its memory: not dumpable (`prctl(2)`) does all of
//! that, and what it does not do is said in the README. The thing to get wrong: it is lost with every `execve`, so it is
//! the first thing that each start does, the one that `--background` makes included. Builds for tests do it as well, for
//! else no test would have seen what is installed; to debug keyfobd, be root.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::panic;

use keyfob_daemon::secret::wipe_variable;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// The system does not let us shut others out.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep other programs out of this process")]
pub(crate) struct Exposed(#[source] io::Error);

/// Shuts others out, for good.
///
/// # Errors
/// Fails where the system refuses: then no secret may get in.
pub(crate) fn shut() -> Result<(), Exposed> {
    undumpable().map_err(|error| Exposed(error.into()))?;
    no_core().map_err(|error| Exposed(error.into()))?;
    umask(Mode::RWXG | Mode::RWXO);
    panic::set_hook(Box::new(tell_where));
    Ok(())
}

/// Forgets variables that are secrets, now that they have been read: also where the system put them when it started us, which
/// root could read for as long as we live.
pub(crate) fn forget(names: &BTreeSet<OsString>) {
    for name in names {
        if !wipe_variable(name) {
            tracing::warn!(?name, "a secret stays in the environment of this process");
        }
    }
}

#[cfg(target_os = "linux")]
fn undumpable() -> Result<(), Errno> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

#[cfg(not(target_os = "linux"))]
fn undumpable() -> Result<(), Errno> {
    Ok(())
}

/// For good: neither we nor a child can raise it again.
fn no_core() -> Result<(), Errno> {
    const NONE: Rlimit = Rlimit { current: Some(0), maximum: Some(0) };
    match setrlimit(Resource::Core, NONE) {
        // A sandbox may forbid the call, and have seen to it itself.
        Err(Errno::PERM) if getrlimit(Resource::Core).current == Some(0) => Ok(()),
        done => done,
    }
}

/// Says where a panic was and nothing of what it said: that can quote anything.
fn tell_where(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // Where nothing can be written it goes unsaid: a panic in here would end the process, with what is under way.
    drop(writeln!(io::stderr(), "keyfobd: panicked at {place}: this is a mistake in keyfobd"));
}
