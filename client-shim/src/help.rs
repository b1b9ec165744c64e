//! The help pages, as they are printed.
//!
//! They are text files, so that a page is read and mended as it looks.

use crate::arguments::Verb;

/// Returns a command's page, or the one about all.
pub(crate) fn page(verb: Option<Verb>) -> &'static str {
    match verb {
        None => include_str!("help/overview.txt"),
        Some(Verb::Token) => include_str!("help/token.txt"),
        Some(Verb::Login) => include_str!("help/login.txt"),
        Some(Verb::Logout) => include_str!("help/logout.txt"),
        Some(Verb::Status) => include_str!("help/status.txt"),
        Some(Verb::Confirm) => include_str!("help/confirm.txt"),
        Some(Verb::Setup) => include_str!("help/setup.txt"),
        Some(Verb::Lock) => include_str!("help/lock.txt"),
        Some(Verb::Unlock) => include_str!("help/unlock.txt"),
        Some(Verb::Reload) => include_str!("help/reload.txt"),
        Some(Verb::Stop) => include_str!("help/stop.txt"),
    }
}
