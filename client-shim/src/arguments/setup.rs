//! The arguments of `keyfob setup flyte`.
//!
//! The thing to get wrong: options here take names of files and variables, which a message never repeats unquoted.

use std::path::PathBuf;

use keyfob_protocol::account::AccountName;

use crate::arguments::mistake::{Mistake, repeated};
use crate::arguments::{Known, Parsed, Value, Verb};

/// What to set up, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetupOptions {
    /// The account's name, if it is given.
    pub(crate) account: Option<AccountName>,
    /// The client's configuration, if it is given.
    pub(crate) file: Option<PathBuf>,
    /// The variable that holds an API key, if it is given.
    pub(crate) api_key: Option<String>,
    /// There or back.
    pub(crate) direction: Direction,
    /// Whether anything is written.
    pub(crate) writing: Writing,
    /// What becomes of a session that another client keeps.
    pub(crate) session: Session,
}

/// There or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Setup,
    Undo,
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Really,
    /// `--dry-run`
    Not,
}

/// What becomes of a session that another client keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    Leave,
    /// `--import`
    TakeOver,
}

/// What can be set up.
pub(super) const SUBJECT: &str = "flyte";

const CONFIG: Known = Known { name: "--config", value: Value::Text("the name of a file") };
const API_KEY: Known = Known { name: "--api-key-env", value: Value::Text("the name of a variable") };
const DRY_RUN: Known = Known { name: "--dry-run", value: Value::None };
const UNDO: Known = Known { name: "--undo", value: Value::None };
const IMPORT: Known = Known { name: "--import", value: Value::None };

/// What can stand there beside the subject and an account.
pub(super) const OPTIONS: &[Known] = &[CONFIG, API_KEY, DRY_RUN, UNDO, IMPORT];

impl SetupOptions {
    /// Gives the arguments their meaning.
    pub(super) fn read(parsed: &mut Parsed) -> Result<Self, Mistake> {
        match parsed.operands.pop_front() {
            Some(subject) if subject == SUBJECT => {}
            other => return Err(Mistake::UnknownSubject(other.map(|other| repeated(&other)))),
        }
        let account = parsed.operands.pop_front();
        let api_key = parsed.texts_of(API_KEY).next_back();
        let options = Self {
            account: account.as_deref().map(str::parse).transpose()?,
            file: parsed.texts_of(CONFIG).next_back().map(PathBuf::from),
            api_key: api_key.map(|name| name.to_string_lossy().into_owned()),
            direction: if parsed.has(UNDO) { Direction::Undo } else { Direction::Setup },
            writing: if parsed.has(DRY_RUN) { Writing::Not } else { Writing::Really },
            session: if parsed.has(IMPORT) { Session::TakeOver } else { Session::Leave },
        };
        let surplus = account.filter(|_| options.direction == Direction::Undo);
        match parsed.operands.pop_front().or(surplus) {
            Some(surplus) => Err(Mistake::TooMany { given: repeated(&surplus), topic: Verb::Setup.name() }),
            None => contradiction(&options).map_or(Ok(options), Err),
        }
    }
}

/// Finds an option that means nothing on the way back.
fn contradiction(options: &SetupOptions) -> Option<Mistake> {
    let other = match (options.direction, options.session, &options.api_key) {
        (Direction::Undo, Session::TakeOver, _) => IMPORT,
        (Direction::Undo, Session::Leave, Some(_)) => API_KEY,
        (Direction::Undo, Session::Leave, None) | (Direction::Setup, ..) => return None,
    };
    Some(Mistake::Contradiction { one: UNDO.name, other: other.name, topic: Verb::Setup.name() })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parse_line(line: &str) -> Result<Option<SetupOptions>, Mistake> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut parsed = Parsed::read(&arguments, Verb::Setup)?;
        if parsed.asks_for_help { Ok(None) } else { SetupOptions::read(&mut parsed).map(Some) }
    }

    #[test]
    fn every_option_is_read() {
        let options =
            parse_line("flyte prod --config=a.yaml --api-key-env KEY --dry-run --import").unwrap().unwrap();
        let expected = SetupOptions {
            account: Some("prod".parse().unwrap()),
            file: Some("a.yaml".into()),
            api_key: Some("KEY".to_owned()),
            direction: Direction::Setup,
            writing: Writing::Not,
            session: Session::TakeOver,
        };
        assert_eq!(options, expected);
        assert_eq!(parse_line("--undo flyte").unwrap().unwrap().direction, Direction::Undo);
        assert_eq!(parse_line("flyte -h").unwrap(), None);
    }

    #[test]
    fn a_mistake_is_named() {
        let cases = [
            ("", "name what to set up: keyfob setup flyte; run: keyfob help setup"),
            (
                "kubectl",
                "\"kubectl\" is nothing that can be set up: keyfob setup flyte; run: keyfob help setup",
            ),
            ("flyte a b", "the argument \"b\" is one too many; run: keyfob help setup"),
            ("flyte --config", "--config takes the name of a file; run: keyfob help setup"),
            ("flyte --udo", "there is no option \"--udo\", did you mean --undo?; run: keyfob help setup"),
            ("flyte --undo=x", "--undo takes no value; run: keyfob help setup"),
            ("flyte --undo prod", "the argument \"prod\" is one too many; run: keyfob help setup"),
            ("flyte --undo --import", "--undo and --import contradict each other; run: keyfob help setup"),
            (
                "flyte --undo --api-key-env K",
                "--undo and --api-key-env contradict each other; run: keyfob help setup",
            ),
        ];
        for (line, message) in cases {
            assert_eq!(parse_line(line).unwrap_err().to_string(), message, "{line}");
        }
    }
}
