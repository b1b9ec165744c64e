//! The environment that the daemon was started with, handed in by `main`.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The environment that the daemon was started with. Its values may be secrets: its debug form has none.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
    /// The names of those that were asked for as secrets.
    secrets: Arc<Mutex<BTreeSet<OsString>>>,
}

impl Environment {
    /// Returns the value of a variable; an empty one counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Returns the value of a variable that is a secret, or has one in it.
    pub(super) fn secret(&self, name: &str) -> Option<&OsStr> {
        let value = self.variable(name)?;
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into());
        Some(value)
    }

    /// Returns the names of the variables that a configuration asked for as secrets.
    pub fn secret_names(&self) -> BTreeSet<OsString> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        Self { variables: variables.into_iter().collect(), secrets: Arc::default() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Environment").field(&self.variables.len()).finish()
    }
}
