//! What the environment says, as `main` read it.
//!
//! An empty variable counts as one that is not set, so that a script can switch one off with `KEYFOB_ACCOUNT= keyfob`. The
//! thing to get wrong: each variable is looked for among all that there are, and `keyfob token` is to be done by then. So
//! what only a person minds is read where there is one.

use std::ffi::OsString;

/// The variables that every command minds. Those that lead to files are read where the paths are found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// `KEYFOB_SOCKET`: where the socket is.
    pub(crate) socket: Option<OsString>,
    /// `KEYFOB_ACCOUNT`: the account of a command that names none.
    pub(crate) account: Option<OsString>,
    /// `KEYFOB_DAEMON`: the program to start.
    pub(crate) daemon: Option<OsString>,
    /// `KEYFOB_NO_AUTOSTART`: start nothing.
    pub(crate) no_autostart: Option<OsString>,
}

/// The variables that say where a person is, and what they see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
    /// `KEYFOB_CONFIG`: shown to a person who has no account yet.
    pub(crate) config: Option<OsString>,
    /// `NO_COLOR`: neither colours nor bold type.
    pub(crate) no_color: Option<OsString>,
    /// `BROWSER`: programs that open a page.
    pub(crate) browser: Option<OsString>,
    /// `DISPLAY` or `WAYLAND_DISPLAY`: there is a desktop.
    pub(crate) has_display: bool,
    /// `SSH_CONNECTION` or `SSH_TTY`: the person is in front of another machine.
    pub(crate) is_ssh: bool,
    /// `TERM`: `dumb` cannot rewrite a line.
    pub(crate) term: Option<OsString>,
}

impl Environment {
    /// Tells whether `KEYFOB_NO_AUTOSTART` forbids starting a daemon.
    pub(crate) fn forbids_autostart(&self) -> bool {
        self.no_autostart.as_ref().is_some_and(|value| value != "0")
    }
}

impl Person {
    /// Tells whether a terminal may be sent colours and other escape sequences.
    pub(crate) fn allows_escapes(&self) -> bool {
        self.no_color.is_none() && self.has_able_terminal()
    }

    /// Tells whether the terminal can rewrite a line.
    pub(crate) fn has_able_terminal(&self) -> bool {
        self.term.as_ref().is_some_and(|term| term != "dumb")
    }
}
