//! The configuration file.

use std::ffi::OsString;
use std::path::Path;

use crate::config::Config;
use crate::config::environment::Environment;
use crate::config::mistake::Mistakes;

/// Reads the contents of a configuration file, in an environment with a home, a directory of credentials and a secret.
///
/// # Errors
/// Fails with every mistake.
pub fn parse(bytes: &[u8]) -> Result<Config, Mistakes> {
    let variables =
        [("HOME", "/home/ann"), ("CREDENTIALS_DIRECTORY", "/run/credentials"), ("CI_SECRET", "CANARY")];
    let environment: Environment =
        variables.map(|(name, value)| (OsString::from(name), OsString::from(value))).into_iter().collect();
    Config::parse(Path::new("config.toml"), bytes, &environment)
}
