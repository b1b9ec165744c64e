//! Why a setup was not made. Nothing has been changed then, unless the sentence says so.
//!
//! The thing to get wrong: a configuration may hold secrets, so nothing of it is repeated but names of keys and files.

use std::io;
use std::path::PathBuf;

use keyfob_protocol::account::{AccountName, InvalidAccountName};

use crate::setup::ini::IniError;
use crate::setup::shell;
use crate::setup::yaml::YamlError;

/// Why a setup was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no configuration of a client.
    #[error("there is no configuration of a Flyte client, neither {} nor any other that they look for; name it with --config FILE", .0.display())]
    NothingFound(PathBuf),
    /// The file that is named is not there.
    #[error("there is no file {}; name the configuration of a Flyte client", .0.display())]
    NotThere(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody wrote to the file while we looked at it.
    #[error("{} has changed in the meantime; run it again", .0.display())]
    Changed(PathBuf),
    /// The file is YAML that cannot be changed.
    #[error("{}: {source}", .path.display())]
    Yaml {
        /// Which.
        path: PathBuf,
        /// Why.
        source: YamlError,
    },
    /// The file is INI that cannot be changed.
    #[error("{}: {source}", .path.display())]
    Ini {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IniError,
    },
    /// The file names no endpoint.
    #[error("{} names no endpoint; write endpoint: dns:///HOST there", .0.display())]
    NoEndpoint(PathBuf),
    /// The endpoint is none.
    #[error("the endpoint is not of the form dns:///HOST:PORT; mend it, then run this again")]
    BadEndpoint,
    /// The clients split this command in different ways.
    #[error("{key} is a text that the clients split in different ways; write it as a list")]
    AmbiguousCommand {
        /// The key.
        key: &'static str,
    },
    /// The way to sign in is unknown.
    #[error("authType is none that keyfob knows; write Pkce, DeviceFlow, ClientSecret or ExternalCommand")]
    UnknownAuthType,
    /// The way to sign in needs something that is not there.
    #[error("authType is ClientSecret, but there is no {0}; add it, or write another authType")]
    Missing(&'static str),
    /// The client secret is in a variable that is not set, and keyfobd would not start without it.
    #[error(
        "clientSecretEnvVar names {0}, which is not set here, and without it keyfobd does not start; set it, or name a file: clientSecretLocation"
    )]
    NoVariable(String),
    /// The way to sign in needs a command.
    #[error("authType is ExternalCommand, but there is no command; add it, or write another authType")]
    NoCommand,
    /// An API key is none.
    #[error(
        "{variable} holds no API key; take it from the environment where it works: --api-key-env VARIABLE"
    )]
    NoApiKey {
        /// The variable.
        variable: String,
    },
    /// The name is none.
    #[error("{0}; write: keyfob setup flyte ACCOUNT")]
    Name(#[from] InvalidAccountName),
    /// Another account has the name.
    #[error("there is another account {0} in the configuration; choose a name: keyfob setup flyte ACCOUNT")]
    NameTaken(AccountName),
    /// The file runs keyfob for another account.
    #[error("{} uses the account {account} already; to give it another name, first run: keyfob setup flyte --undo --config {}", .path.display(), shell::word(.path))]
    OtherAccount {
        /// The file.
        path: PathBuf,
        /// Its account.
        account: String,
    },
    /// The configuration of keyfob cannot be changed.
    #[error("{} cannot be extended: {reason}; mend it first: keyfobd --check", .path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A backup is there already, and the file is not what was made from it.
    #[error("{} is left from an earlier setup; remove it, or run: keyfob setup flyte --undo --config {}", .backup.display(), shell::word(.path))]
    BackupLeft {
        /// The backup.
        backup: PathBuf,
        /// The file that it is of.
        path: PathBuf,
    },
    /// There is no daemon that a unit could start.
    #[error("there is no {}; install keyfobd beside keyfob, then run this again", .0.display())]
    NoDaemon(PathBuf),
    /// Nobody starts units here.
    #[error(
        "systemd runs no services of yours here: {0}; log in on the machine itself or over ssh, not by su or sudo; to write the units alone run: keyfob setup systemd --no-start"
    )]
    NoManager(String),
    /// The manager refused.
    #[error("systemctl --user {order}: {reason}; to go back run: keyfob setup systemd --undo")]
    Systemctl {
        /// What it should have done.
        order: String,
        /// Why it did not.
        reason: String,
    },
    /// A path has characters that no unit can have.
    #[error("{} cannot be written in a unit: use a directory with a name that is plain text", .0.display())]
    Unspeakable(PathBuf),
    /// The file was changed since.
    #[error("{} was changed since the setup, so it is left as it is; compare it with {}", .path.display(), .backup.display())]
    EditedSince {
        /// The file.
        path: PathBuf,
        /// Its backup.
        backup: PathBuf,
        /// What an undo would do to it.
        diff: Vec<String>,
    },
}

impl Error {
    /// Returns the lines below the first.
    pub(crate) fn details(&self) -> &[String] {
        if let Self::EditedSince { diff, .. } = self { diff } else { &[] }
    }
}
