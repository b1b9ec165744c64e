//! Standard error while a person waits: lines that stay, and on a terminal one last line that changes.
//!
//! The thing to get wrong: a log or a pipe cannot rewrite a line, and would fill with the same one.

use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;

use crate::arguments::login::QrCode;
use crate::environment::Person;
use crate::failure::Failure;
use crate::qr::{self, Ink, Space};

/// Rows that a QR code leaves to the text below it, one of which may wrap: without that text in sight nobody knows what
/// the QR code is for.
const ROWS_OF_TEXT: u16 = 5;

/// Goes to the start of the line and empties it.
const EMPTY_LINE: &str = "\r\x1b[K";

/// Standard error.
pub(crate) struct Screen {
    kind: Kind,
    qr_code: QrCode,
}

enum Kind {
    /// It can rewrite a line.
    Terminal { space: Space, ink: Ink },
    /// It keeps what is written.
    Log,
}

impl Screen {
    /// Looks at standard error.
    pub(crate) fn look(qr_code: QrCode, person: &Person) -> Self {
        let is_able = io::stderr().is_terminal() && person.has_able_terminal();
        let size = tcgetwinsize(io::stderr()).ok().filter(|_| is_able);
        let kind = size.map_or(Kind::Log, |size| Kind::Terminal {
            space: Space { columns: size.ws_col, rows: size.ws_row },
            ink: if person.allows_escapes() { Ink::Set } else { Ink::Terminal },
        });
        Self { kind, qr_code }
    }

    /// Writes what stays.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Terminal { .. } => write(&format!("{EMPTY_LINE}{text}")),
            Kind::Log => write(text),
        }
    }

    /// Writes a line that stays in a log, and is the changing one on a terminal.
    pub(crate) fn announce(&self, line: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Terminal { .. } => self.rewrite(line),
            Kind::Log => write(&format!("{line}\n")),
        }
    }

    /// Rewrites the last line of a terminal.
    pub(crate) fn rewrite(&self, line: &str) -> Result<(), Failure> {
        match self.kind {
            Kind::Terminal { space, .. } => {
                // A line that wraps cannot be rewritten.
                let shown: String = line.chars().take(usize::from(space.columns.saturating_sub(1))).collect();
                write(&format!("{EMPTY_LINE}{shown}"))
            }
            Kind::Log => Ok(()),
        }
    }

    /// Draws a link as QR code, where it fits and is wanted.
    pub(crate) fn qr_code(&self, link: &str) -> Option<String> {
        match (&self.kind, self.qr_code) {
            (Kind::Terminal { space, ink }, QrCode::IfItFits) => {
                let rows = space.rows.saturating_sub(ROWS_OF_TEXT);
                qr::draw(link, Space { rows, ..*space }, *ink)
            }
            (Kind::Terminal { .. } | Kind::Log, QrCode::IfItFits | QrCode::Never) => None,
        }
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut error = io::stderr().lock();
    error.write_all(text.as_bytes()).and_then(|()| error.flush()).map_err(Failure::Output)
}
