//! The address that a browser was sent to, brought by hand: a line of standard input.
//!
//! It holds an authorization code, and is shown as it is typed all the same: who sees it can do nothing with it without
//! the verifier, which never leaves the daemon (RFC 7636), and who pastes it should see what it is. The thing to get
//! wrong: a terminal cuts long lines without a word.

use std::io::{self, BufRead, IsTerminal, Read};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

/// The longest line that a terminal passes on (`N_TTY_BUF_SIZE`, less one for the end of the line).
const TERMINAL_LINE: usize = 4095;

/// The longest line that is read: no browser has a longer address.
const MAX_LINE: u64 = 64 * 1024;

/// Lines that are read ahead. A person pastes one.
const READ_AHEAD: usize = 1;

/// Standard input while an address is awaited.
pub(crate) struct Paste(Receiver<Line>);

/// What was pasted.
#[derive(PartialEq, Eq)]
pub(crate) enum Line {
    /// A text.
    Text(String),
    /// A text of which the end is missing.
    Cut,
}

/// What there is on standard input.
pub(crate) enum Input {
    /// A line.
    Line(Line),
    /// Nothing yet.
    NotYet,
    /// Nothing any more.
    End,
}

impl Paste {
    /// Begins to read. The thread ends with standard input or with the program.
    pub(crate) fn begin() -> Self {
        let (sender, lines) = mpsc::sync_channel(READ_AHEAD);
        let limit = if io::stdin().is_terminal() { TERMINAL_LINE } else { usize::MAX };
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Some(line) = read(&mut input, limit) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    /// Returns what there is.
    pub(crate) fn input(&self) -> Input {
        match self.0.try_recv() {
            Ok(line) => Input::Line(line),
            Err(TryRecvError::Empty) => Input::NotYet,
            Err(TryRecvError::Disconnected) => Input::End,
        }
    }
}

/// Reads a line that has something on it; nothing at the end of the input.
fn read(input: &mut impl BufRead, limit: usize) -> Option<Line> {
    loop {
        let mut line = Vec::new();
        let count = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
        if count == 0 {
            return None;
        }
        if count >= limit || count as u64 == MAX_LINE {
            return Some(Line::Cut);
        }
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            return Some(Line::Text(text.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], limit: usize) -> Vec<String> {
        let mut input = input;
        let mut lines = Vec::new();
        while let Some(line) = read(&mut input, limit) {
            lines.push(match line {
                Line::Text(text) => text,
                Line::Cut => "(cut)".to_owned(),
            });
        }
        lines
    }

    #[test]
    fn a_line_is_a_text_without_the_space_around_it_and_empty_ones_are_none() {
        assert_eq!(lines(b"\n  http://a/?b \r\n\t\nlast", usize::MAX), ["http://a/?b", "last"]);
        assert_eq!(lines(b"", usize::MAX), [""; 0]);
    }

    #[test]
    fn a_line_that_a_terminal_has_cut_is_not_taken_for_the_whole() {
        let long = [b"x".repeat(TERMINAL_LINE), b"\n".to_vec()].concat();
        assert_eq!(lines(&long, TERMINAL_LINE), ["(cut)"]);
        assert_eq!(lines(&long, usize::MAX), ["x".repeat(TERMINAL_LINE)]);
    }
}
