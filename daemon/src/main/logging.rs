//! Where the log goes: to standard error, which is the journal under systemd.
//!
//! `KEYFOB_LOG` is a level, and it is that of our own code: what a library writes at its lowest level can hold what
//! it was given, tokens included, so libraries are heard from `warn` upwards and no lower.

use std::ffi::OsStr;
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Our own code, by the names of its crates.
const OWN: [&str; 3] = ["keyfob_daemon", "keyfobd", "audit"];

/// How the lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// With the time.
    Stamped,
    /// Without: the journal knows it.
    Journal,
}

impl Style {
    /// Returns how lines on standard error should look. `journal` is the value of `JOURNAL_STREAM`: the device and the
    /// inode of the journal's end, which children inherit even where their standard error goes elsewhere.
    pub(crate) fn of_stderr(journal: Option<&OsStr>) -> Self {
        let is_journal = rustix::fs::fstat(rustix::stdio::stderr()).is_ok_and(|file| {
            let here = format!("{}:{}", file.st_dev, file.st_ino);
            journal.is_some_and(|journal| journal == here.as_str())
        });
        if is_journal { Self::Journal } else { Self::Stamped }
    }
}

/// `KEYFOB_LOG` is no level.
#[derive(Debug, thiserror::Error)]
#[error("KEYFOB_LOG={0:?} is no level; use error, warn, info, debug or trace")]
pub(crate) struct InvalidLevel(String);

/// Starts the log. `level` is the value of `KEYFOB_LOG`.
///
/// # Errors
/// Fails where that is no level.
pub(crate) fn start(level: Option<&OsStr>, style: Style) -> Result<(), InvalidLevel> {
    let level = match level.filter(|level| !level.is_empty()) {
        Some(level) => {
            let text = level.to_string_lossy();
            text.parse::<LevelFilter>().map_err(|_| InvalidLevel(text.into_owned()))?
        }
        None => LevelFilter::INFO,
    };
    let libraries = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(libraries).with_targets(OWN.map(|own| (own, level)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let log = tracing_subscriber::registry().with(targets);
    match style {
        Style::Stamped => log.with(lines.with_timer(time::SystemTime)).init(),
        Style::Journal => log.with(lines.without_time()).init(),
    }
    Ok(())
}
