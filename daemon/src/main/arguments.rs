//! The command line of keyfobd.

use std::path::PathBuf;

use clap::Parser;

const ABOUT: &str = "Owns your OAuth2 tokens, renews them ahead of expiry and serves them over a Unix socket";

const LONG_ABOUT: &str = "\
keyfobd owns the OAuth2 tokens of one user. It renews each ahead of its expiry and serves them over a Unix socket, to
programs of that user alone. Tools get their token by running `keyfob token ACCOUNT`; people log in with `keyfob login
ACCOUNT`. Both start keyfobd by themselves where it does not run, so there is seldom a reason to start it by hand.";

const AFTER: &str = "\
ENVIRONMENT
  KEYFOB_CONFIG   the configuration file, if --config is not given
  KEYFOB_SOCKET   the socket, if --socket is not given
  KEYFOB_LOG      what is logged: error, warn, info (default), debug or trace

FILES
  $XDG_CONFIG_HOME/keyfob/config.toml    the configuration (~/.config/keyfob/config.toml)
  $XDG_STATE_HOME/keyfob/                the sealed logins, the lock and the log (~/.local/state/keyfob)
  $XDG_RUNTIME_DIR/keyfob/keyfob.sock    the socket

SIGNALS
  SIGTERM, SIGINT   let renewals that are under way finish, then exit; a second one exits at once
  SIGHUP            read the configuration again; on a mistake the old one stays in force

EXIT CODES
  0   stopped as asked, or a daemon is running already
  1   the system stands in the way: the message says how
  2   the command line is wrong
  78  the configuration has mistakes: all are listed";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "keyfobd", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Return as soon as the daemon answers, and leave it running with its log in a file.
    #[arg(long)]
    pub(crate) background: bool,
    /// Read the configuration, list every mistake, and exit.
    #[arg(long, conflicts_with = "background")]
    pub(crate) check: bool,
    /// What `--background` runs: says on standard output when it is ready.
    #[arg(long, hide = true, conflicts_with_all = ["background", "check"])]
    pub(crate) detached: bool,
}
