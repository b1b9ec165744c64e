//! A passphrase: typed where nobody sees it, or a line of standard input.
//!
//! The thing to get wrong: whoever presses Ctrl-C half-way must get back a terminal that shows what they type. So the
//! terminal passes on every key, that one as well, and is put back whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use keyfob_protocol::error::Exit;
use keyfob_protocol::lock::LONGEST_PASSPHRASE;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::arguments::lock::Source;
use crate::failure::INTERRUPTED;
use crate::hardening;

/// The terminal that the person is at, whatever is redirected.
const TERMINAL: &str = "/dev/tty";

/// What keys send.
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody can type.
    #[error("there is no terminal to type a passphrase at; use --passphrase-stdin")]
    NoTerminal,
    /// Nothing was typed.
    #[error("no passphrase was given; try again")]
    Empty,
    /// It is longer than any.
    #[error("a passphrase has {LONGEST_PASSPHRASE} bytes at most; take a shorter one")]
    TooLong,
    /// It is no text.
    #[error("the passphrase is not UTF-8; take another one")]
    NoText,
    /// It was typed in two ways.
    #[error("the two passphrases differ, and nothing was locked; try again")]
    Different,
    /// It cannot be read.
    #[error("cannot read the passphrase: {0}; try again")]
    Io(#[from] io::Error),
    /// Somebody pressed Ctrl-C.
    #[error("cancelled")]
    Interrupted,
}

impl Error {
    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::NoTerminal | Self::Empty | Self::TooLong | Self::NoText | Self::Different => {
                Exit::Usage as u8
            }
            Self::Io(_) => Exit::Unavailable as u8,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

/// Returns a new passphrase. At a terminal it is typed twice.
pub(crate) fn to_set(source: Source) -> Result<SecretString, Error> {
    // Before the first key: no policy asks who locks, so keyfobd need not look at us.
    hardening::shut()?;
    match source {
        Source::Input => from_input(),
        Source::Terminal => {
            let mut terminal = Terminal::open()?;
            let passphrase = terminal.ask("Passphrase to unlock keyfob with: ")?;
            let again = terminal.ask("The same again: ")?;
            if *passphrase != *again {
                return Err(Error::Different);
            }
            text(&passphrase)
        }
    }
}

/// Returns the passphrase that keyfob was locked with.
pub(crate) fn to_give(source: Source) -> Result<SecretString, Error> {
    hardening::shut()?;
    match source {
        Source::Input => from_input(),
        Source::Terminal => text(&Terminal::open()?.ask("Passphrase: ")?),
    }
}

fn from_input() -> Result<SecretString, Error> {
    text(&line(&mut Input)?)
}

/// Standard input without the buffer that the standard library puts before it.
struct Input;

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(stdin(), bytes)?)
    }
}

/// Reads a line byte by byte: what follows it is somebody else's, and no buffer of ours keeps a copy.
fn line(input: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Sized at once, so that it never moves and leaves no copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_PASSPHRASE + 2));
    while let Some(byte) = next(input)? {
        if byte == b'\n' {
            break;
        }
        if line.len() > LONGEST_PASSPHRASE {
            return Err(Error::TooLong);
        }
        line.push(byte);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// Reads what is typed up to the end of the line, by keys as they come.
fn typed(keys: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST_PASSPHRASE + 2));
    loop {
        match next(keys)? {
            Some(b'\n' | b'\r' | CTRL_D) | None => return Ok(typed),
            Some(CTRL_C) => return Err(Error::Interrupted),
            Some(CTRL_U) => typed.clear(),
            // A character that is not ASCII has several bytes; all but its first begin with the bits 10.
            Some(BACKSPACE | DELETE) => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            Some(key) if key.is_ascii_control() => {}
            Some(_) if typed.len() > LONGEST_PASSPHRASE => return Err(Error::TooLong),
            Some(key) => typed.push(key),
        }
    }
}

fn next(input: &mut impl Read) -> Result<Option<u8>, io::Error> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn text(passphrase: &[u8]) -> Result<SecretString, Error> {
    if passphrase.is_empty() {
        return Err(Error::Empty);
    }
    if passphrase.len() > LONGEST_PASSPHRASE {
        return Err(Error::TooLong);
    }
    str::from_utf8(passphrase).map(SecretString::from).map_err(|_| Error::NoText)
}

/// A terminal that shows nothing of what is typed, until this value is dropped.
struct Terminal {
    terminal: File,
    before: Termios,
}

impl Terminal {
    fn open() -> Result<Self, Error> {
        let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL);
        let terminal = terminal.map_err(|_| Error::NoTerminal)?;
        let before = tcgetattr(&terminal).map_err(|_| Error::NoTerminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before the question is no answer to it.
        tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(io::Error::from)?;
        Ok(Self { terminal, before })
    }

    fn ask(&mut self, question: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.terminal.write_all(question.as_bytes())?;
        let typed = typed(&mut self.terminal);
        self.terminal.write_all(b"\n")?;
        typed
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where that fails there is nothing else to do.
        tcsetattr(&self.terminal, OptionalActions::Flush, &self.before).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn line_of(input: &[u8]) -> Result<String, Error> {
        let mut input = input;
        text(&line(&mut input)?).map(|text| text.expose_secret().to_owned())
    }

    fn typed_as(mut keys: &[u8]) -> Result<String, Error> {
        text(&typed(&mut keys)?).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn a_line_of_input_is_the_passphrase_with_the_space_around_it() {
        for (input, passphrase) in [
            ("secret\nmore\n", "secret"),
            (" s p \r\n", " s p "),
            ("no end", "no end"),
            ("\u{1f511}\n", "\u{1f511}"),
        ] {
            assert_eq!(line_of(input.as_bytes()).unwrap(), passphrase);
        }
        assert!(matches!(line_of(b"\nsecret"), Err(Error::Empty)));
        assert!(matches!(line_of(b""), Err(Error::Empty)));
        assert!(matches!(line_of(b"\xff\n"), Err(Error::NoText)));
        let most = "x".repeat(LONGEST_PASSPHRASE);
        assert_eq!(line_of(format!("{most}\r\n").as_bytes()).unwrap(), most);
        for more in ["x", "xx", &most] {
            assert!(matches!(line_of(format!("{most}{more}\n").as_bytes()), Err(Error::TooLong)));
        }
    }

    #[test]
    fn keys_that_correct_do_so_by_whole_characters() {
        assert_eq!(typed_as("ab\u{1f511}\x7f\x08c\r".as_bytes()).unwrap(), "ac");
        assert_eq!(typed_as(b"wrong\x15right\n").unwrap(), "right");
        assert_eq!(typed_as(b"\x7f\x1b\ta\x04").unwrap(), "a");
        assert!(matches!(typed_as(b"secret\x03\n"), Err(Error::Interrupted)));
        assert!(matches!(typed_as(b"\n"), Err(Error::Empty)));
        assert!(matches!(typed_as(&[b'x'; 2 * LONGEST_PASSPHRASE]), Err(Error::TooLong)));
    }
}
