//! What is wrong with the configuration, as people read it: every mistake, each with its line.
//!
//! A message never repeats a value, because a value in the wrong place may be a secret: it says where, and what belongs
//! there. Only names of keys and accounts, and slips of a known word, are repeated.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// The key, with dots; empty where the text is not TOML, and so has no keys.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write in its place.
    pub hint: Option<String>,
}

/// All mistakes of a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The file.
    pub file: PathBuf,
    /// The mistakes.
    pub list: Vec<Mistake>,
    /// How many more there are than a person would read.
    pub more: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for mistake in &self.list {
            write!(f, "{separator}{}:{mistake}", self.file.display())?;
            separator = "\n";
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "{separator}{}: {more} more mistakes like these", self.file.display()),
        }
    }
}
