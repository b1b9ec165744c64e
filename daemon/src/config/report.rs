//! Where mistakes are gathered while the file is read.
//!
//! Whoever fails to read something must return a [`Reported`], and only a [`Report`] with a mistake in it makes one: so
//! nothing that is wrong with the file gets lost on the way, and nobody has to complain about what follows from it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use crate::config::mistake::{Mistake, Mistakes};

/// The most mistakes that are kept: more than a person reads at once, few enough that a file of nonsense costs little.
const MOST_MISTAKES: usize = 100;

/// The words of the parser that we add something to.
const DUPLICATE_KEY: &str = "duplicate key";
const UNQUOTED: &str = "string values must be quoted";
const INVALID: &str = "invalid ";

/// The mistakes in one text.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    /// The offset at which each line begins.
    lines: Vec<usize>,
    /// The offsets, in order, at which the text is not TOML.
    broken: Vec<usize>,
    /// Shared by the tables that are open at the same time.
    found: RefCell<Found>,
}

#[derive(Debug, Default)]
struct Found {
    list: Vec<Mistake>,
    more: usize,
}

/// The proof that a mistake is in the report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// What a mistake is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The key, with dots.
    pub(super) path: String,
    /// Where it is in the text.
    pub(super) offset: usize,
}

/// What is wrong, and what to write in its place.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    message: String,
    hint: Option<String>,
}

impl Place {
    /// Returns the path of a key inside this table.
    pub(super) fn inside(&self, key: &str) -> String {
        let key = key_in_path(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines, broken: Vec::new(), found: RefCell::default() }
    }

    /// Adds the places where the text is not TOML.
    pub(super) fn add_syntax(&mut self, errors: &[toml::de::Error]) {
        for error in errors {
            let span = error.span().unwrap_or_default();
            let about = self.text.get(span.clone()).unwrap_or_default();
            let path = if error.message() == DUPLICATE_KEY { key_in_path(about) } else { String::new() };
            self.broken.push(span.start);
            self.add(&Place { path, offset: span.start }, not_toml(error.message(), about));
        }
        self.broken.sort_unstable();
    }

    /// Tells whether the text is not TOML within a span: what was read from there means nothing.
    pub(super) fn is_broken(&self, span: Range<usize>) -> Option<Reported> {
        let next = self.broken.partition_point(|at| *at < span.start);
        self.broken.get(next).filter(|at| **at <= span.end).map(|_| Reported(()))
    }

    /// Tells whether some of the text is not TOML, so that what seems to be missing may only have been misread.
    pub(super) fn has_syntax_errors(&self) -> Option<Reported> {
        self.broken.first().map(|_| Reported(()))
    }

    /// Adds a mistake.
    pub(super) fn add(&self, place: &Place, wrong: Wrong) -> Reported {
        let mut found = self.found.borrow_mut();
        if found.list.len() < MOST_MISTAKES {
            let (line, column) = self.position(place.offset);
            let Wrong { message, hint } = wrong;
            found.list.push(Mistake { line, column, path: place.path.clone(), message, hint });
        } else {
            found.more += 1;
        }
        Reported(())
    }

    /// Returns what was read, if the report is empty.
    pub(super) fn conclude<T>(self, file: &Path, outcome: Result<T, Reported>) -> Result<T, Mistakes> {
        let mistakes = self.into_mistakes(file);
        match outcome {
            Ok(value) if mistakes.list.is_empty() => Ok(value),
            Ok(_) | Err(Reported(())) => Err(mistakes),
        }
    }

    /// Returns all mistakes.
    pub(super) fn into_mistakes(self, file: &Path) -> Mistakes {
        let Found { mut list, more } = self.found.into_inner();
        list.sort_by_key(|mistake| (mistake.line, mistake.column));
        // The parser may say the same of each letter.
        list.dedup_by(|next, mistake| {
            (next.line, &next.path, &next.message) == (mistake.line, &mistake.path, &mistake.message)
        });
        Mistakes { file: file.to_owned(), list, more }
    }

    /// Returns line and column, from 1. The end of the text belongs to its last line.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len().saturating_sub(1));
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        let column = String::from_utf8_lossy(&self.text.as_bytes()[start..offset]).chars().count();
        (line, column + 1)
    }
}

/// Says why a text is not TOML: in the words of the parser, and without the text, which may be a secret without quotes.
fn not_toml(words: &str, text: &str) -> Wrong {
    let wrong = Wrong::new(words);
    if words == DUPLICATE_KEY {
        wrong.hint("keep one of the two")
    } else if words.starts_with(UNQUOTED) && text.is_empty() {
        Wrong::new("there is no value")
    } else if words.starts_with(INVALID) && text.starts_with(char::is_alphabetic) {
        // It took a word for a number, by its first letter.
        wrong.hint("if it is a text, put it in quotes")
    } else {
        wrong
    }
}

/// Returns a key as it is written in a path: what TOML would quote is quoted, so that no control character gets to a
/// terminal, and a very long one is cut.
fn key_in_path(key: &str) -> String {
    const LONGEST: usize = 64;
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let cut: String = key.chars().take(LONGEST).collect();
    if !cut.is_empty() && cut.chars().all(is_bare) { cut } else { format!("{cut:?}") }
}
