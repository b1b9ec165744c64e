//! Standard output, in as many pieces as it is given.
//!
//! A command writes once. The thing to get wrong: a buffer in between could part a token in two, and would have to be made
//! for one line.

use std::io::{self, Write};

use rustix::stdio::stdout;

/// Standard output without a buffer.
pub(crate) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
