//! The arguments of `keyfob setup flyte` and `keyfob setup systemd`.
//!
//! The thing to get wrong: options here take names of files and variables, which a message never repeats unquoted.

use std::path::PathBuf;

use keyfob_protocol::account::AccountName;

use crate::arguments::mistake::{Mistake, repeated};
use crate::arguments::{Known, Parsed, Value, Verb};

/// What to set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The clients of a Flyte endpoint.
    Flyte(SetupOptions),
    /// The units of systemd.
    Systemd(SystemdOptions),
}

/// How to set up the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SystemdOptions {
    /// There or back.
    pub(crate) direction: Direction,
    /// Whether anything is written.
    pub(crate) writing: Writing,
    /// Whether the socket is there at once.
    pub(crate) starting: Starting,
    /// Whether users may have namespaces on this machine.
    pub(crate) namespaces: Namespaces,
}

/// Whether something is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starting {
    Now,
    /// `--no-start`
    Later,
}

/// Whether users may have namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespaces {
    Own,
    /// `--no-userns`
    None,
}

/// What to set up of the clients, and how.
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
const FLYTE: &str = "flyte";
const SYSTEMD: &str = "systemd";

const CONFIG: Known = Known { name: "--config", value: Value::Text("the name of a file") };
const API_KEY: Known = Known { name: "--api-key-env", value: Value::Text("the name of a variable") };
const DRY_RUN: Known = Known { name: "--dry-run", value: Value::None };
const UNDO: Known = Known { name: "--undo", value: Value::None };
const IMPORT: Known = Known { name: "--import", value: Value::None };
const NO_START: Known = Known { name: "--no-start", value: Value::None };
const NO_USERNS: Known = Known { name: "--no-userns", value: Value::None };

/// What can stand there beside the subject and an account.
pub(super) const OPTIONS: &[Known] = &[CONFIG, API_KEY, DRY_RUN, UNDO, IMPORT, NO_START, NO_USERNS];

impl Subject {
    /// Gives the arguments their meaning.
    pub(super) fn read(parsed: &mut Parsed) -> Result<Self, Mistake> {
        let subject = parsed.operands.pop_front();
        match subject.as_deref() {
            Some(FLYTE) => {
                excluded(parsed, FLYTE, &[NO_START, NO_USERNS])?;
                SetupOptions::read(parsed).map(Self::Flyte)
            }
            Some(SYSTEMD) => {
                excluded(parsed, SYSTEMD, &[IMPORT])?;
                SystemdOptions::read(parsed).map(Self::Systemd)
            }
            other => Err(Mistake::UnknownSubject(other.map(repeated))),
        }
    }
}

/// Finds an option that means nothing to a subject.
fn excluded(parsed: &Parsed, subject: &'static str, options: &[Known]) -> Result<(), Mistake> {
    match options.iter().find(|option| parsed.has(**option)) {
        Some(option) => {
            Err(Mistake::Contradiction { one: subject, other: option.name, topic: Verb::Setup.name() })
        }
        None => Ok(()),
    }
}

fn direction(parsed: &Parsed) -> Direction {
    if parsed.has(UNDO) { Direction::Undo } else { Direction::Setup }
}

fn writing(parsed: &Parsed) -> Writing {
    if parsed.has(DRY_RUN) { Writing::Not } else { Writing::Really }
}

impl SystemdOptions {
    fn read(parsed: &mut Parsed) -> Result<Self, Mistake> {
        for option in [CONFIG, API_KEY] {
            if parsed.texts_of(option).next().is_some() {
                return Err(Mistake::Contradiction {
                    one: SYSTEMD,
                    other: option.name,
                    topic: Verb::Setup.name(),
                });
            }
        }
        if let Some(surplus) = parsed.operands.pop_front() {
            return Err(Mistake::TooMany { given: repeated(&surplus), topic: Verb::Setup.name() });
        }
        let options = Self {
            direction: direction(parsed),
            writing: writing(parsed),
            starting: if parsed.has(NO_START) { Starting::Later } else { Starting::Now },
            namespaces: if parsed.has(NO_USERNS) { Namespaces::None } else { Namespaces::Own },
        };
        if options.direction == Direction::Undo {
            for option in [NO_START, NO_USERNS] {
                if parsed.has(option) {
                    return Err(Mistake::Contradiction {
                        one: UNDO.name,
                        other: option.name,
                        topic: Verb::Setup.name(),
                    });
                }
            }
        }
        Ok(options)
    }
}

impl SetupOptions {
    fn read(parsed: &mut Parsed) -> Result<Self, Mistake> {
        let account = parsed.operands.pop_front();
        let api_key = parsed.texts_of(API_KEY).next_back();
        let options = Self {
            account: account.as_deref().map(str::parse).transpose()?,
            file: parsed.texts_of(CONFIG).next_back().map(PathBuf::from),
            api_key: api_key.map(|name| name.to_string_lossy().into_owned()),
            direction: direction(parsed),
            writing: writing(parsed),
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

    fn parse_subject(line: &str) -> Result<Option<Subject>, Mistake> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut parsed = Parsed::read(&arguments, Verb::Setup)?;
        if parsed.asks_for_help { Ok(None) } else { Subject::read(&mut parsed).map(Some) }
    }

    fn parse_line(line: &str) -> Result<Option<SetupOptions>, Mistake> {
        Ok(parse_subject(line)?.map(|subject| match subject {
            Subject::Flyte(options) => options,
            Subject::Systemd(options) => panic!("{options:?}"),
        }))
    }

    #[test]
    fn the_options_for_systemd_are_read() {
        let options = |line: &str| match parse_subject(line).unwrap() {
            Some(Subject::Systemd(options)) => options,
            other => panic!("{other:?}"),
        };
        let plain = SystemdOptions {
            direction: Direction::Setup,
            writing: Writing::Really,
            starting: Starting::Now,
            namespaces: Namespaces::Own,
        };
        assert_eq!(options("systemd"), plain);
        let other = SystemdOptions { starting: Starting::Later, namespaces: Namespaces::None, ..plain };
        assert_eq!(options("systemd --no-start --no-userns"), other);
        let undo = SystemdOptions { direction: Direction::Undo, writing: Writing::Not, ..plain };
        assert_eq!(options("systemd --undo --dry-run"), undo);
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
            ("", "name what to set up: keyfob setup flyte or keyfob setup systemd; run: keyfob help setup"),
            (
                "kubectl",
                "\"kubectl\" is nothing that can be set up: keyfob setup flyte or keyfob setup systemd; run: keyfob help setup",
            ),
            ("flyte a b", "the argument \"b\" is one too many; run: keyfob help setup"),
            ("systemd prod", "the argument \"prod\" is one too many; run: keyfob help setup"),
            ("systemd --import", "systemd and --import contradict each other; run: keyfob help setup"),
            ("systemd --config f", "systemd and --config contradict each other; run: keyfob help setup"),
            (
                "systemd --undo --no-start",
                "--undo and --no-start contradict each other; run: keyfob help setup",
            ),
            ("flyte --no-start", "flyte and --no-start contradict each other; run: keyfob help setup"),
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
