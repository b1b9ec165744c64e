//! What is wrong with a command line, in words that name the nearest thing that would have been right.
//!
//! The thing to get wrong: an argument is repeated to a terminal, so it is quoted first.

use keyfob_protocol::account::InvalidAccountName;

/// How alike a word must be to a known one to be taken for it misspelt.
const LIKENESS: f64 = 0.8;

/// How much of a strange argument is repeated.
const MAX_REPEATED: usize = 40;

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mistake {
    /// There is nothing on it.
    #[error("no command is given; run: keyfob help")]
    NoCommand,
    /// The command is none of ours.
    #[error("there is no command {given}{}; run: keyfob help", suggestion(.nearest))]
    UnknownCommand {
        /// What stands there.
        given: String,
        /// What may be meant.
        nearest: Option<&'static str>,
    },
    /// The option is none of this command's.
    #[error("there is no option {given}{}; run: keyfob help {topic}", suggestion(.nearest))]
    UnknownOption {
        /// What stands there.
        given: String,
        /// What may be meant.
        nearest: Option<&'static str>,
        /// Of which command.
        topic: &'static str,
    },
    /// The option's value is missing.
    #[error("{option} takes a number of seconds; run: keyfob help {topic}")]
    NoValue {
        /// The option.
        option: &'static str,
        /// Of which command.
        topic: &'static str,
    },
    /// The option's value is missing, and is no number.
    #[error("{option} takes {what}; run: keyfob help {topic}")]
    NoText {
        /// The option.
        option: &'static str,
        /// What it takes.
        what: &'static str,
        /// Of which command.
        topic: &'static str,
    },
    /// What is to be set up is not said, or unknown.
    #[error("{}: keyfob setup flyte or keyfob setup systemd; run: keyfob help setup", subject(.0))]
    UnknownSubject(Option<String>),
    /// The option's value is no number.
    #[error("{option} takes a whole number of seconds, not {given}; run: keyfob help {topic}")]
    NoNumber {
        /// The option.
        option: &'static str,
        /// What stands there.
        given: String,
        /// Of which command.
        topic: &'static str,
    },
    /// The option's value is no number, and not of seconds.
    #[error("{option} takes a whole number, not {given}; run: keyfob help {topic}")]
    NoCount {
        /// The option.
        option: &'static str,
        /// What stands there.
        given: String,
        /// Of which command.
        topic: &'static str,
    },
    /// The option's value is no time.
    #[error("{option} takes a time such as 90s, 30min, 8h or 7d, not {given}; run: keyfob help {topic}")]
    NoTime {
        /// The option.
        option: &'static str,
        /// What stands there.
        given: String,
        /// Of which command.
        topic: &'static str,
    },
    /// There is nobody to ask.
    #[error("there is no terminal to ask on: use --list, --allow and --deny; run: keyfob help confirm")]
    NoTerminal,
    /// The option takes no value.
    #[error("{option} takes no value; run: keyfob help {topic}")]
    Surplus {
        /// The option.
        option: &'static str,
        /// Of which command.
        topic: &'static str,
    },
    /// The options cannot both be meant.
    #[error("{one} and {other} contradict each other; run: keyfob help {topic}")]
    Contradiction {
        /// One option.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Of which command.
        topic: &'static str,
    },
    /// There is more than the command takes.
    #[error("the argument {given} is one too many; run: keyfob help {topic}")]
    TooMany {
        /// What stands there.
        given: String,
        /// Of which command.
        topic: &'static str,
    },
    /// The account's name is none.
    #[error("{0}; run: keyfob status")]
    Account(#[from] InvalidAccountName),
    /// The account's name is none, and it is not the command line's.
    #[error("KEYFOB_ACCOUNT: {0}; run: keyfob status")]
    AccountVariable(InvalidAccountName),
}

/// Returns an argument as a message repeats it: quoted, without anything that a terminal would act on, and short.
pub(super) fn repeated(argument: &str) -> String {
    let short: String = argument.chars().take(MAX_REPEATED).collect();
    format!("{short:?}")
}

pub(super) fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

fn subject(given: &Option<String>) -> String {
    match given {
        Some(given) => format!("{given} is nothing that can be set up"),
        None => "name what to set up".to_owned(),
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}
