//! What a setup sees of the machine, gathered by `main`: variables, directories, and where keyfob is.
//!
//! The thing to get wrong: the command that is written down is run by other programs, from other directories, so it is
//! either found by `PATH` as this very program, or written with its full path.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use keyfob_protocol::account::AccountName;

const PROGRAM: &str = "keyfob";

/// What a setup sees of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) variables: BTreeMap<OsString, OsString>,
    pub(crate) home: PathBuf,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// This program.
    pub(crate) keyfob: Option<PathBuf>,
    /// keyfob's own configuration file.
    pub(crate) config: PathBuf,
}

impl Surroundings {
    /// Returns a variable that is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    /// Returns the command that prints the token of an account.
    pub(crate) fn command(&self, account: &AccountName) -> Vec<String> {
        let program = match &self.keyfob {
            Some(own) if !self.is_found(own) => own.display().to_string(),
            Some(_) | None => PROGRAM.to_owned(),
        };
        vec![program, "token".to_owned(), account.to_string()]
    }

    /// Returns where the client secret of an account is kept that has no other place.
    pub(crate) fn secret(&self, account: &AccountName) -> PathBuf {
        let directory = self.config.parent().unwrap_or(Path::new("."));
        directory.join("secrets").join(account.as_str())
    }

    /// Tells whether the first keyfob of `PATH` is this one.
    fn is_found(&self, own: &Path) -> bool {
        let Some(path) = self.variables.get(OsStr::new("PATH")) else { return false };
        let first =
            std::env::split_paths(path).map(|directory| directory.join(PROGRAM)).find(|it| it.is_file());
        first.is_some_and(|first| matches!((first.canonicalize(), own.canonicalize()), (Ok(one), Ok(other)) if one == other))
    }
}
