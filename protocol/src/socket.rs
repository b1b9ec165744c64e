//! Where the socket is. Both sides must find the same one, also where only one of them has a login session.
//!
//! Never in `/tmp`: whoever comes first there could answer in the daemon's place.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::paths::{NoHome, below, runtime_directory, state_directory};

/// The socket's file name in keyfob's directory.
const FILE_NAME: &str = "keyfob.sock";

/// The longest path that fits `sockaddr_un::sun_path` on Linux with its final NUL.
pub const MAX_PATH: usize = 107;

/// Returns the path by which a socket in an open directory is reached: its own or, where that does not fit into an address,
/// one through the descriptor, which the kernel lets each process use with its own.
pub fn reachable<'a>(path: &'a Path, directory: BorrowedFd<'_>) -> Cow<'a, Path> {
    match path.file_name() {
        Some(name) if path.as_os_str().len() > MAX_PATH => {
            Cow::Owned(PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
        }
        Some(_) | None => Cow::Borrowed(path),
    }
}

/// Finds the socket: `$KEYFOB_SOCKET` (given here), or `keyfob/keyfob.sock` in the runtime directory, which is
/// `$XDG_RUNTIME_DIR` or, where that is not set (cron, `su`, some SSH sessions), the `/run/user/UID` that the same
/// user's login session has; else `run/keyfob.sock` in keyfob's state directory.
///
/// # Errors
/// Fails where there is no runtime directory, and no home directory is known.
pub fn find(explicit: Option<OsString>) -> Result<PathBuf, NoHome> {
    if let Some(path) = explicit.filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let directory = match runtime_directory() {
        Some(runtime) => below(&runtime),
        None => state_directory(&BaseDirs::new().ok_or(NoHome)?).join("run"),
    };
    Ok(directory.join(FILE_NAME))
}
