//! The arguments of `keyfob confirm`.
//!
//! The thing to get wrong: an answer that was not meant. Two that contradict each other are a mistake, and so is a time
//! that is not understood.

use keyfob_protocol::confirmation::Answer;

use crate::arguments::mistake::{Mistake, repeated};
use crate::arguments::status::Form;
use crate::arguments::{JSON, Known, Parsed, Value, Verb};

/// What to do about the programs that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConfirmOptions {
    /// What to do.
    pub(crate) action: Action,
    /// For how many seconds an answer holds, if that is said.
    pub(crate) held: Option<u64>,
    /// In what form the outcome is shown.
    pub(crate) form: Form,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask the person about each.
    Ask,
    /// Show them.
    List,
    /// Give this answer to this question.
    Answer(u64, Answer),
}

const ALLOW: Known = Known { name: "--allow", value: Value::Text("the number of a question") };
const DENY: Known = Known { name: "--deny", value: Value::Text("the number of a question") };
const FOR: Known = Known { name: "--for", value: Value::Text("a time such as 30min or 8h") };
const LIST: Known = Known { name: "--list", value: Value::None };

/// What can stand there.
pub(super) const OPTIONS: &[Known] = &[ALLOW, DENY, FOR, LIST, JSON];

/// The units of a time, and their seconds. A number alone is seconds.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("s", 1),
    ("m", 60),
    ("min", 60),
    ("h", 3600),
    ("d", 86_400),
    ("day", 86_400),
    ("days", 86_400),
];

impl ConfirmOptions {
    /// Gives the arguments their meaning.
    pub(super) fn read(parsed: &Parsed) -> Result<Self, Mistake> {
        let topic = Verb::Confirm.name();
        let is_given = |option: Known| parsed.has(option) || parsed.texts_of(option).next().is_some();
        for (one, other) in [(ALLOW, DENY), (ALLOW, LIST), (DENY, LIST), (FOR, LIST)] {
            if is_given(one) && is_given(other) {
                return Err(Mistake::Contradiction { one: one.name, other: other.name, topic });
            }
        }
        let last =
            |option| parsed.texts_of(option).next_back().map(|text| text.to_string_lossy().into_owned());
        let number = |option: Known, text: String| {
            let wrong = || Mistake::NoCount { option: option.name, given: repeated(&text), topic };
            text.parse::<u64>().map_err(|_| wrong())
        };
        let form = parsed.form();
        let action = match (last(ALLOW), last(DENY)) {
            (Some(id), _) => Action::Answer(number(ALLOW, id)?, Answer::Allow),
            (None, Some(id)) => Action::Answer(number(DENY, id)?, Answer::Deny),
            (None, None) if parsed.has(LIST) || form == Form::Json => Action::List,
            (None, None) => Action::Ask,
        };
        let held = last(FOR).map(|text| {
            seconds(&text).ok_or_else(|| Mistake::NoTime { option: FOR.name, given: repeated(&text), topic })
        });
        Ok(Self { action, held: held.transpose()?, form })
    }
}

/// Reads a time, such as `8h`.
fn seconds(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*length)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parse_line(line: &str) -> Result<ConfirmOptions, Mistake> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Parsed::read(&arguments, Verb::Confirm).and_then(|parsed| ConfirmOptions::read(&parsed))
    }

    #[test]
    fn every_option_is_read() {
        let options = |action, held, form| Ok(ConfirmOptions { action, held, form });
        for (line, expected) in [
            ("", options(Action::Ask, None, Form::Table)),
            ("--for 1h", options(Action::Ask, Some(3600), Form::Table)),
            ("--list", options(Action::List, None, Form::Table)),
            ("--json", options(Action::List, None, Form::Json)),
            ("--allow 7", options(Action::Answer(7, Answer::Allow), None, Form::Table)),
            ("--deny=7 --for=0 --json", options(Action::Answer(7, Answer::Deny), Some(0), Form::Json)),
        ] {
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_time_has_a_unit_or_is_seconds() {
        for (text, expected) in
            [("90", 90), ("90s", 90), ("30min", 1800), ("30m", 1800), ("8h", 28_800), ("7d", 604_800)]
        {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in
            ["", "h", "-1h", "1.5h", "1 h", "1h30m", "8hours", "99999999999999999999", "9999999999999999d"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_mistake_is_named_and_no_answer() {
        for (line, message) in [
            ("--allow 1 --deny 1", "--allow and --deny contradict each other; run: keyfob help confirm"),
            ("--allow 1 --list", "--allow and --list contradict each other; run: keyfob help confirm"),
            ("--list --for 1h", "--for and --list contradict each other; run: keyfob help confirm"),
            ("--allow", "--allow takes the number of a question; run: keyfob help confirm"),
            ("--allow all", "--allow takes a whole number, not \"all\"; run: keyfob help confirm"),
            (
                "--for ever",
                "--for takes a time such as 90s, 30min, 8h or 7d, not \"ever\"; run: keyfob help confirm",
            ),
            ("7", "the argument \"7\" is one too many; run: keyfob help confirm"),
        ] {
            assert_eq!(parse_line(line).unwrap_err().to_string(), message, "{line}");
        }
    }
}
