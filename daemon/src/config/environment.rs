//! The environment that the daemon was started with, handed in by `main`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment that the daemon was started with. Its values may be secrets: its debug form has none.
#[derive(Clone, Default)]
pub struct Environment(HashMap<OsString, OsString>);

impl Environment {
    /// Returns the value of a variable; an empty one counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Returns a path of the user's as it is meant, where it is absolute or begins with `~/`.
    pub(super) fn expand(&self, path: &str) -> Option<PathBuf> {
        let expanded = match path.strip_prefix("~/") {
            Some(rest) => Path::new(self.variable("HOME")?).join(rest.trim_start_matches('/')),
            None => PathBuf::from(path),
        };
        Some(expanded).filter(|path| path.is_absolute())
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Environment").field(&self.0.len()).finish()
    }
}
