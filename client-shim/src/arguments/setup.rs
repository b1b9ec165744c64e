//! The arguments of `keyfob setup flyte`.
//!
//! The thing to get wrong: options here take names of files and variables, which a message never repeats unquoted.

use std::ffi::OsString;
use std::path::PathBuf;

use keyfob_protocol::account::AccountName;

use crate::arguments::mistake::{Mistake, nearest, repeated};

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

const TOPIC: &str = "setup";
const CONFIG: &str = "--config";
const API_KEY: &str = "--api-key-env";
const DRY_RUN: &str = "--dry-run";
const UNDO: &str = "--undo";
const IMPORT: &str = "--import";
const OPTIONS: [&str; 6] = [CONFIG, API_KEY, DRY_RUN, UNDO, IMPORT, "--help"];

/// Reads what follows `setup`; `None` where the page about it is asked for.
pub(super) fn parse(arguments: &[OsString]) -> Result<Option<SetupOptions>, Mistake> {
    let mut options = SetupOptions {
        account: None,
        file: None,
        api_key: None,
        direction: Direction::Setup,
        writing: Writing::Really,
        session: Session::Leave,
    };
    let mut operands = Vec::new();
    let mut left = arguments.iter();
    let mut options_ended = false;
    while let Some(argument) = left.next() {
        let text = argument.to_string_lossy();
        if options_ended || !text.starts_with('-') || text == "-" {
            operands.push(text.into_owned());
            continue;
        }
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text.as_ref(), None),
        };
        let mut value = |what| {
            attached.clone().or_else(|| left.next().cloned()).filter(|value| !value.is_empty()).ok_or(what)
        };
        match name {
            "--" => options_ended = true,
            "--help" | "-h" => return Ok(None),
            CONFIG => {
                let missing = Mistake::NoText { option: CONFIG, what: "the name of a file", topic: TOPIC };
                options.file = Some(value(missing)?.into());
            }
            API_KEY => {
                let missing =
                    Mistake::NoText { option: API_KEY, what: "the name of a variable", topic: TOPIC };
                options.api_key = Some(value(missing)?.to_string_lossy().into_owned());
            }
            DRY_RUN if attached.is_none() => options.writing = Writing::Not,
            UNDO if attached.is_none() => options.direction = Direction::Undo,
            IMPORT if attached.is_none() => options.session = Session::TakeOver,
            DRY_RUN => return Err(Mistake::Surplus { option: DRY_RUN, topic: TOPIC }),
            UNDO => return Err(Mistake::Surplus { option: UNDO, topic: TOPIC }),
            IMPORT => return Err(Mistake::Surplus { option: IMPORT, topic: TOPIC }),
            _ => {
                let nearest = nearest(name, OPTIONS.into_iter());
                return Err(Mistake::UnknownOption { given: repeated(name), nearest, topic: TOPIC });
            }
        }
    }
    let mut operands = operands.into_iter();
    match operands.next() {
        Some(subject) if subject == SUBJECT => {}
        Some(other) => return Err(Mistake::UnknownSubject(Some(repeated(&other)))),
        None => return Err(Mistake::UnknownSubject(None)),
    }
    let account = operands.next();
    options.account = account.as_deref().map(str::parse).transpose()?;
    match operands.next().or(account.filter(|_| options.direction == Direction::Undo)) {
        Some(surplus) => Err(Mistake::TooMany { given: repeated(&surplus), topic: TOPIC }),
        None => contradiction(&options).map_or(Ok(Some(options)), Err),
    }
}

/// Finds an option that means nothing on the way back.
fn contradiction(options: &SetupOptions) -> Option<Mistake> {
    let other = match (options.direction, options.session, &options.api_key) {
        (Direction::Undo, Session::TakeOver, _) => IMPORT,
        (Direction::Undo, Session::Leave, Some(_)) => API_KEY,
        (Direction::Undo, Session::Leave, None) | (Direction::Setup, ..) => return None,
    };
    Some(Mistake::Contradiction { one: UNDO, other, topic: TOPIC })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Option<SetupOptions>, Mistake> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&arguments)
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
