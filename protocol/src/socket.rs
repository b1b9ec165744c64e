//! Where the socket is. Both sides must find the same one, also where only one of them has a login session.
//!
//! Never in `/tmp`: whoever comes first there could answer in the daemon's place.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::paths::{NoHome, below, state_directory};

/// The socket's file name in keyfob's directory.
const FILE_NAME: &str = "keyfob.sock";

/// The longest path that fits `sockaddr_un::sun_path` on Linux with its final NUL.
pub const MAX_PATH: usize = 107;

/// Finds the socket: `$KEYFOB_SOCKET` (given here), or `keyfob/keyfob.sock` in the runtime directory, which is
/// `$XDG_RUNTIME_DIR` or, where that is not set (cron, `su`, some SSH sessions), the `/run/user/UID` that the same
/// user's login session has; else `run/keyfob.sock` in keyfob's state directory.
///
/// # Errors
/// Fails where no home directory is known.
pub fn find(explicit: Option<OsString>) -> Result<PathBuf, NoHome> {
    if let Some(path) = explicit.filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let base = BaseDirs::new().ok_or(NoHome)?;
    let directory = match base.runtime_dir().map(Path::to_owned).or_else(session_runtime_directory) {
        Some(runtime) => below(&runtime),
        None => state_directory(&base).join("run"),
    };
    Ok(directory.join(FILE_NAME))
}

/// Returns `/run/user/UID` if it is this user's.
fn session_runtime_directory() -> Option<PathBuf> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let directory = PathBuf::from(format!("/run/user/{uid}"));
    let metadata = std::fs::symlink_metadata(&directory).ok()?;
    (metadata.is_dir() && metadata.uid() == uid).then_some(directory)
}
