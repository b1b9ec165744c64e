//! What the shim holds on to and gives up before there is a token in it.
//!
//! It lives for a millisecond, and longer where it waits for a login: in that time no other process of the user shall read
//! its memory, and no core shall have it. Where a token is asked for, the thing to get wrong is to do this at the start: keyfobd tells by `/proc` which
//! program asks, and cannot look at one that is shut.

use std::io::{self, Write};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::{panic, process};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_getfd};
use rustix::stdio::{stderr, stdin, stdout};

/// Makes sure that there are standard streams. Where one is closed, the next file that is opened would be in its place, and
/// be written to.
pub(crate) fn hold_standard_streams() {
    for stream in [stdin(), stdout(), stderr()] {
        if fcntl_getfd(stream) == Err(Errno::BADF) {
            // The lowest free number is this one's. It stays open.
            let nothing = open("/dev/null", OFlags::RDWR, Mode::empty()).map(OwnedFd::into_raw_fd);
            if nothing.is_err() {
                process::abort();
            }
        }
    }
}

/// Shuts others out, until another program is executed.
///
/// # Errors
/// Fails where the system refuses: then no token may get in.
#[cfg(target_os = "linux")]
pub(crate) fn shut() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(crate) fn shut() -> io::Result<()> {
    Ok(())
}

/// Lets a panic say where it was and nothing else: what it says can quote an answer.
pub(crate) fn silence_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        drop(writeln!(io::stderr(), "keyfob: panicked at {place}: this is a mistake in keyfob"));
    }));
}
