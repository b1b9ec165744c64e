//! Where keyfob's files are, by the XDG base directory rules.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use directories::BaseDirs;

/// The name of keyfob's own directory inside each base directory.
const OWN_DIRECTORY: &str = "keyfob";

/// Where keyfob's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// `$KEYFOB_CONFIG`, or `$XDG_CONFIG_HOME/keyfob/config.toml`.
    pub config: PathBuf,
    /// `$XDG_STATE_HOME/keyfob`: the sealed tokens, the lock, the log of a daemon that the shim started.
    pub state: PathBuf,
    /// The log of a daemon that the shim started; one under systemd logs to the journal.
    pub log: PathBuf,
    /// `$XDG_RUNTIME_DIR/keyfob/spill`, where there is a runtime directory: what the state directory does not take.
    pub spill: Option<PathBuf>,
}

/// Neither `HOME` nor the user database names a home directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no home directory: set HOME")]
pub struct NoHome;

impl Paths {
    /// Finds keyfob's files; `config` is the value of `KEYFOB_CONFIG`.
    ///
    /// # Errors
    /// Fails where no home directory is known.
    pub fn find(config: Option<OsString>) -> Result<Self, NoHome> {
        let base = BaseDirs::new().ok_or(NoHome)?;
        let state = state_directory(&base);
        Ok(Self {
            config: config
                .filter(|path| !path.is_empty())
                .map_or_else(|| base.config_dir().join(OWN_DIRECTORY).join("config.toml"), PathBuf::from),
            log: state.join("keyfobd.log"),
            state,
            spill: runtime_directory().map(|runtime| below(&runtime).join("spill")),
        })
    }
}

/// Returns keyfob's state directory. Systems without one (macOS) keep state with the local data.
pub(crate) fn state_directory(base: &BaseDirs) -> PathBuf {
    base.state_dir().unwrap_or_else(|| base.data_local_dir()).join(OWN_DIRECTORY)
}

/// Returns the user's runtime directory: `$XDG_RUNTIME_DIR` or, where that is not set (cron, `su`, some SSH sessions), the
/// `/run/user/UID` that the same user's login session has.
///
/// It is looked for alone: a shim that has it needs none of the others, and they take long to find.
#[expect(
    clippy::disallowed_methods,
    reason = "base directories are read where they are found, here as by `directories`"
)]
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    // macOS has none, whatever the variable says.
    let named = if cfg!(target_os = "macos") { None } else { env::var_os("XDG_RUNTIME_DIR") };
    named.map(PathBuf::from).filter(|path| path.is_absolute()).or_else(session_runtime_directory)
}

/// Returns `/run/user/UID` if it is this user's.
fn session_runtime_directory() -> Option<PathBuf> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let directory = PathBuf::from(format!("/run/user/{uid}"));
    let metadata = std::fs::symlink_metadata(&directory).ok()?;
    (metadata.is_dir() && metadata.uid() == uid).then_some(directory)
}

/// Returns keyfob's directory below a runtime directory.
pub(crate) fn below(runtime: &Path) -> PathBuf {
    runtime.join(OWN_DIRECTORY)
}
