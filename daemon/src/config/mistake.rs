//! What is wrong with the configuration, as people read it: every mistake, each with its line.
//!
//! A message never repeats a value, because a value in the wrong place may be a secret: it says where, and what belongs
//! there. Only names of keys and accounts, and slips of a known word, are repeated.

use std::fmt::{self, Write};
use std::path::PathBuf;

use crate::token::failure::is_deceptive;

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
            spell_out(f, &self.path)?;
            f.write_str(": ")?;
        }
        spell_out(f, &self.message)?;
        match &self.hint {
            Some(hint) => {
                f.write_str("; ")?;
                spell_out(f, hint)
            }
            None => Ok(()),
        }
    }
}

/// Writes what may have a name out of the file. What could steer a terminal, or hide something in it, becomes visible.
fn spell_out(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars()
        .try_for_each(|c| if is_deceptive(c) { write!(f, "{}", c.escape_unicode()) } else { f.write_char(c) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_the_file_cannot_steer_a_terminal() {
        let mistake = Mistake {
            line: 7,
            column: 1,
            path: "accounts.\u{1b}[2J".to_owned(),
            message: "unknown key; known here: f\0grant".to_owned(),
            hint: Some("did you mean \"\u{202e}tnarg\"?".to_owned()),
        };
        assert_eq!(
            mistake.to_string(),
            r#"7: accounts.\u{1b}[2J: unknown key; known here: f\u{0}grant; did you mean "\u{202e}tnarg"?"#
        );
    }
}
