//! The command line, by hand: `keyfob token` must be running before a parser library has built its tables.
//!
//! Options stand anywhere, as `--option VALUE` or `--option=VALUE`; `--` ends them. The thing to get wrong: guessing.
//! What is not understood is a mistake that is named, with the nearest thing that would have been.

pub(crate) mod confirm;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod mistake;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod token;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::slice;

use keyfob_protocol::account::AccountName;

use crate::arguments::confirm::ConfirmOptions;
use crate::arguments::lock::Source;
use crate::arguments::login::LoginOptions;
use crate::arguments::mistake::{Mistake, nearest, repeated};
use crate::arguments::setup::Subject;
use crate::arguments::status::{Form, StatusOptions};
use crate::arguments::token::TokenOptions;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print a token.
    Token(TokenOptions, Start),
    /// Log in.
    Login(LoginOptions, Start),
    /// Log out.
    Logout(Account, Start),
    /// Show the accounts.
    Status(StatusOptions, Start),
    /// Answer for programs that wait to be allowed a token.
    Confirm(ConfirmOptions),
    /// Have another program use keyfob.
    Setup(Subject),
    /// Have the daemon forget all secrets.
    Lock(Option<Source>, Start),
    /// Have it take them up again.
    Unlock(Source),
    /// Have the daemon read its configuration again.
    Reload,
    /// End the daemon.
    Stop,
    /// Explain this command, or all.
    Help(Option<Verb>),
    /// Print the version.
    Version,
}

/// The commands by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `token`
    Token,
    /// `login`
    Login,
    /// `logout`
    Logout,
    /// `status`
    Status,
    /// `confirm`
    Confirm,
    /// `setup`
    Setup,
    /// `lock`
    Lock,
    /// `unlock`
    Unlock,
    /// `reload`
    Reload,
    /// `stop`
    Stop,
}

/// The account that a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// The one that the configuration names as default.
    Default,
    /// This one.
    Named(AccountName),
}

/// Whether a daemon may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Where none answers.
    IfNeeded,
    /// Not by us.
    Never,
}

/// An option, and what follows it.
#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    None,
    Seconds,
    /// A number, or nothing.
    Count,
    /// Any text but an empty one, and what it is for a message.
    Text(&'static str),
}

/// What can stand beside the options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operand {
    /// Nothing.
    None,
    /// An account.
    Account,
    /// What the command makes of it.
    Any,
}

/// What a command's arguments say, before they are given a meaning.
#[derive(Default)]
struct Parsed {
    flags: Vec<&'static str>,
    numbers: Vec<(&'static str, u64)>,
    texts: Vec<(&'static str, OsString)>,
    operands: VecDeque<String>,
    asks_for_help: bool,
}

/// The command that explains the others.
const HELP_COMMAND: &str = "help";

const NO_AUTOSTART: Known = Known { name: "--no-autostart", value: Value::None };
const JSON: Known = Known { name: "--json", value: Value::None };
const HELP: Known = Known { name: "--help", value: Value::None };

/// Reads a command line without the program's name. `account` is the value of `KEYFOB_ACCOUNT`.
pub(crate) fn parse(arguments: &[OsString], account: Option<&OsStr>) -> Result<Command, Mistake> {
    let (first, rest) = arguments.split_first().ok_or(Mistake::NoCommand)?;
    let first = first.to_string_lossy();
    match first.as_ref() {
        "--help" | "-h" => return Ok(Command::Help(None)),
        "--version" | "-V" => return Ok(Command::Version),
        HELP_COMMAND => return help(rest),
        _ => {}
    }
    let verb = Verb::read(&first)?;
    let mut parsed = Parsed::read(rest, verb)?;
    if parsed.asks_for_help {
        return Ok(Command::Help(Some(verb)));
    }
    let start = if parsed.has(NO_AUTOSTART) { Start::Never } else { Start::IfNeeded };
    match verb {
        Verb::Token => Ok(Command::Token(TokenOptions::read(&mut parsed, account)?, start)),
        Verb::Login => Ok(Command::Login(LoginOptions::read(&mut parsed, account)?, start)),
        Verb::Logout => Ok(Command::Logout(parsed.account(account)?, start)),
        Verb::Status => Ok(Command::Status(StatusOptions::read(&mut parsed)?, start)),
        Verb::Confirm => Ok(Command::Confirm(ConfirmOptions::read(&parsed)?)),
        Verb::Setup => Ok(Command::Setup(Subject::read(&mut parsed)?)),
        Verb::Lock => Ok(Command::Lock(lock::passphrase_to_set(&parsed)?, start)),
        Verb::Unlock => Ok(Command::Unlock(lock::passphrase_to_give(&parsed))),
        Verb::Reload => Ok(Command::Reload),
        Verb::Stop => Ok(Command::Stop),
    }
}

impl Verb {
    /// All of them.
    const ALL: [Self; 10] = [
        Self::Token,
        Self::Login,
        Self::Logout,
        Self::Status,
        Self::Confirm,
        Self::Setup,
        Self::Lock,
        Self::Unlock,
        Self::Reload,
        Self::Stop,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Status => "status",
            Self::Confirm => "confirm",
            Self::Setup => "setup",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Reload => "reload",
            Self::Stop => "stop",
        }
    }

    /// Returns what the command takes: its options, and what beside them.
    fn accepts(self) -> (&'static [Known], Operand) {
        match self {
            Self::Token => (token::OPTIONS, Operand::Account),
            Self::Login => (login::OPTIONS, Operand::Account),
            Self::Logout => (&[NO_AUTOSTART], Operand::Account),
            Self::Status => (status::OPTIONS, Operand::Account),
            Self::Confirm => (confirm::OPTIONS, Operand::None),
            Self::Setup => (setup::OPTIONS, Operand::Any),
            Self::Lock => (lock::OPTIONS, Operand::None),
            Self::Unlock => (lock::UNLOCK_OPTIONS, Operand::None),
            Self::Reload | Self::Stop => (&[], Operand::None),
        }
    }

    fn read(name: &str) -> Result<Self, Mistake> {
        Self::ALL.into_iter().find(|verb| verb.name() == name).ok_or_else(|| {
            let names = Self::ALL.into_iter().map(Self::name).chain([HELP_COMMAND, "--help", "--version"]);
            Mistake::UnknownCommand { given: repeated(name), nearest: nearest(name, names) }
        })
    }
}

impl Account {
    /// Returns the path segment that stands for it.
    pub(crate) fn segment(&self) -> &str {
        match self {
            Self::Default => keyfob_protocol::DEFAULT_ACCOUNT,
            Self::Named(name) => name.as_str(),
        }
    }
}

impl Parsed {
    fn read(arguments: &[OsString], verb: Verb) -> Result<Self, Mistake> {
        let topic = verb.name();
        let (options, operand) = verb.accepts();
        let mut parsed = Self::default();
        let mut arguments = arguments.iter();
        let mut options_ended = false;
        while let Some(argument) = arguments.next() {
            let argument = argument.to_string_lossy();
            if options_ended || !argument.starts_with('-') || argument == "-" {
                let has_room = match operand {
                    Operand::None => false,
                    Operand::Account => parsed.operands.is_empty(),
                    Operand::Any => true,
                };
                if !has_room {
                    return Err(Mistake::TooMany { given: repeated(&argument), topic });
                }
                parsed.operands.push_back(argument.into_owned());
            } else if argument == "--" {
                options_ended = true;
            } else if argument == HELP.name || argument == "-h" {
                parsed.asks_for_help = true;
            } else {
                let (name, attached) = match argument.split_once('=') {
                    Some((name, value)) => (name, Some(OsString::from(value))),
                    None => (argument.as_ref(), None),
                };
                let option = *options.iter().find(|known| known.name == name).ok_or_else(|| {
                    let names = options.iter().map(|known| known.name).chain([HELP.name]);
                    Mistake::UnknownOption { given: repeated(name), nearest: nearest(name, names), topic }
                })?;
                parsed.take(option, attached, &mut arguments, topic)?;
            }
        }
        Ok(parsed)
    }

    fn take(
        &mut self,
        Known { name: option, value }: Known,
        attached: Option<OsString>,
        following: &mut slice::Iter<'_, OsString>,
        topic: &'static str,
    ) -> Result<(), Mistake> {
        match value {
            Value::None if attached.is_some() => Err(Mistake::Surplus { option, topic }),
            Value::None => {
                self.flags.push(option);
                Ok(())
            }
            Value::Text(what) => {
                let given = attached.or_else(|| following.next().cloned()).filter(|text| !text.is_empty());
                self.texts.push((option, given.ok_or(Mistake::NoText { option, what, topic })?));
                Ok(())
            }
            Value::Seconds => {
                let given = attached.or_else(|| following.next().cloned());
                let given = given.ok_or(Mistake::NoValue { option, topic })?;
                let wrong = |given| Mistake::NoNumber { option, given, topic };
                self.numbers.push((option, number(&given).ok_or_else(|| wrong(shown(&given)))?));
                Ok(())
            }
            Value::Count => {
                self.flags.push(option);
                let has_number = following.as_slice().first().is_some_and(|next| number(next).is_some());
                let next = if attached.is_none() && has_number { following.next().cloned() } else { None };
                let Some(given) = attached.or(next) else { return Ok(()) };
                let wrong = |given| Mistake::NoCount { option, given, topic };
                self.numbers.push((option, number(&given).ok_or_else(|| wrong(shown(&given)))?));
                Ok(())
            }
        }
    }

    fn form(&self) -> Form {
        if self.has(JSON) { Form::Json } else { Form::Table }
    }

    fn has(&self, option: Known) -> bool {
        self.flags.contains(&option.name)
    }

    /// Returns an option's texts, in order.
    fn texts_of(&self, option: Known) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.texts.iter().filter(move |(name, _)| *name == option.name).map(|(_, text)| text.as_os_str())
    }

    /// Returns an option's number; of several the last, so that a script can add one to a command it was given.
    fn number_of(&self, option: Known) -> Option<u64> {
        self.numbers.iter().rev().find(|(name, _)| *name == option.name).map(|(_, seconds)| *seconds)
    }

    fn account(&mut self, variable: Option<&OsStr>) -> Result<Account, Mistake> {
        if let Some(name) = self.operands.pop_front() {
            return Ok(Account::Named(name.parse()?));
        }
        variable.map_or(Ok(Account::Default), |name| {
            name.to_string_lossy().parse().map(Account::Named).map_err(Mistake::AccountVariable)
        })
    }
}

/// Reads a number: digits alone, and not too many of them.
fn number(given: &OsStr) -> Option<u64> {
    let given = given.to_str()?;
    given.parse().ok().filter(|_| given.bytes().all(|byte| byte.is_ascii_digit()))
}

fn shown(given: &OsStr) -> String {
    repeated(&given.to_string_lossy())
}

fn help(arguments: &[OsString]) -> Result<Command, Mistake> {
    let Some((first, rest)) = arguments.split_first() else {
        return Ok(Command::Help(None));
    };
    if let Some(surplus) = rest.first() {
        return Err(Mistake::TooMany { given: repeated(&surplus.to_string_lossy()), topic: HELP_COMMAND });
    }
    match first.to_string_lossy().as_ref() {
        HELP_COMMAND | "--help" | "-h" => Ok(Command::Help(None)),
        name => Verb::read(name).map(|verb| Command::Help(Some(verb))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::login::{Opening, QrCode, Way};
    use crate::arguments::status::Subject;
    use crate::arguments::token::Kind;

    fn parse_line(line: &str) -> Result<Command, Mistake> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&arguments, None)
    }

    fn mistake(line: &str) -> String {
        parse_line(line).unwrap_err().to_string()
    }

    fn named(name: &str) -> Account {
        Account::Named(name.parse().unwrap())
    }

    fn token(account: Account, min_ttl: Option<u64>, wait: Option<u64>) -> Command {
        Command::Token(TokenOptions { min_ttl, wait, ..TokenOptions::of(account) }, Start::IfNeeded)
    }

    fn login(account: Account, way: Way, opening: Opening) -> Command {
        let options = LoginOptions { account, way, opening, qr_code: QrCode::IfItFits };
        Command::Login(options, Start::IfNeeded)
    }

    fn status(account: Option<&str>, subject: Subject, form: Form) -> Command {
        let account = account.map(|name| name.parse().unwrap());
        Command::Status(StatusOptions { account, subject, form }, Start::IfNeeded)
    }

    #[test]
    fn every_command_is_read() {
        let cases = [
            ("token", token(Account::Default, None, None)),
            ("token prod", token(named("prod"), None, None)),
            ("token --min-ttl 60 prod --wait=0", token(named("prod"), Some(60), Some(0))),
            ("token --wait 1 --wait 2", token(Account::Default, None, Some(2))),
            ("token --no-autostart", Command::Token(TokenOptions::of(Account::Default), Start::Never)),
            (
                "token --scope a --scope=b --audience x prod --audience y --resource https://r --id-token",
                Command::Token(
                    TokenOptions {
                        kind: Kind::Id,
                        scopes: vec!["a".to_owned(), "b".to_owned()],
                        audience: Some("y".to_owned()),
                        resources: vec!["https://r".to_owned()],
                        ..TokenOptions::of(named("prod"))
                    },
                    Start::IfNeeded,
                ),
            ),
            ("login", login(Account::Default, Way::Configured, Opening::OnDesktop)),
            ("login --paste prod", login(named("prod"), Way::Paste, Opening::Never)),
            ("login --device", login(Account::Default, Way::DeviceCode, Opening::OnDesktop)),
            ("login --browser", login(Account::Default, Way::Configured, Opening::Always)),
            ("login --no-browser --paste", login(Account::Default, Way::Paste, Opening::Never)),
            ("login --no-browser", login(Account::Default, Way::Configured, Opening::Never)),
            (
                "login --no-qr prod --no-autostart",
                Command::Login(
                    LoginOptions {
                        account: named("prod"),
                        way: Way::Configured,
                        opening: Opening::OnDesktop,
                        qr_code: QrCode::Never,
                    },
                    Start::Never,
                ),
            ),
            ("logout -- prod", Command::Logout(named("prod"), Start::IfNeeded)),
            ("status", status(None, Subject::State, Form::Table)),
            ("status prod --json", status(Some("prod"), Subject::State, Form::Json)),
            ("status --log", status(None, Subject::Log(None), Form::Table)),
            ("status --log prod", status(Some("prod"), Subject::Log(None), Form::Table)),
            ("status --log 50 prod --json", status(Some("prod"), Subject::Log(Some(50)), Form::Json)),
            ("status 7 --log=9", status(Some("7"), Subject::Log(Some(9)), Form::Table)),
            ("status --log 9 7", status(Some("7"), Subject::Log(Some(9)), Form::Table)),
            ("lock", Command::Lock(None, Start::IfNeeded)),
            ("lock --passphrase", Command::Lock(Some(Source::Terminal), Start::IfNeeded)),
            ("lock --passphrase-stdin --no-autostart", Command::Lock(Some(Source::Input), Start::Never)),
            ("unlock", Command::Unlock(Source::Terminal)),
            ("unlock --passphrase-stdin", Command::Unlock(Source::Input)),
            ("reload", Command::Reload),
            ("stop", Command::Stop),
            ("help", Command::Help(None)),
            ("help help", Command::Help(None)),
            ("help token", Command::Help(Some(Verb::Token))),
            ("token --help", Command::Help(Some(Verb::Token))),
            ("token -h prod", Command::Help(Some(Verb::Token))),
            ("--help", Command::Help(None)),
            ("-V", Command::Version),
            ("--version", Command::Version),
        ];
        for (line, command) in cases {
            assert_eq!(parse_line(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_may_be_meant_and_where_to_read() {
        let cases = [
            ("", "no command is given; run: keyfob help"),
            ("tokn", r#"there is no command "tokn", did you mean token?; run: keyfob help"#),
            ("zzz", r#"there is no command "zzz"; run: keyfob help"#),
            ("--verson", r#"there is no command "--verson", did you mean --version?; run: keyfob help"#),
            ("help logn", r#"there is no command "logn", did you mean login?; run: keyfob help"#),
            (
                "token --minttl 5",
                r#"there is no option "--minttl", did you mean --min-ttl?; run: keyfob help token"#,
            ),
            ("stop -x", r#"there is no option "-x"; run: keyfob help stop"#),
            ("token --wait", "--wait takes a number of seconds; run: keyfob help token"),
            (
                "token --wait soon",
                r#"--wait takes a whole number of seconds, not "soon"; run: keyfob help token"#,
            ),
            (
                "token --wait=+5",
                r#"--wait takes a whole number of seconds, not "+5"; run: keyfob help token"#,
            ),
            ("token --wait=", r#"--wait takes a whole number of seconds, not ""; run: keyfob help token"#),
            ("token --scope", "--scope takes a value; run: keyfob help token"),
            ("token --audience=", "--audience takes a value; run: keyfob help token"),
            ("status --log=soon", r#"--log takes a whole number, not "soon"; run: keyfob help status"#),
            ("status --json=yes", "--json takes no value; run: keyfob help status"),
            ("login --paste --device", "--paste and --device contradict each other; run: keyfob help login"),
            (
                "login --no-browser --browser",
                "--browser and --no-browser contradict each other; run: keyfob help login",
            ),
            (
                "lock --passphrase --passphrase-stdin",
                "--passphrase and --passphrase-stdin contradict each other; run: keyfob help lock",
            ),
            ("lock --passphrase=x", "--passphrase takes no value; run: keyfob help lock"),
            ("lock secret", r#"the argument "secret" is one too many; run: keyfob help lock"#),
            ("token a b", r#"the argument "b" is one too many; run: keyfob help token"#),
            ("stop now", r#"the argument "now" is one too many; run: keyfob help stop"#),
        ];
        for (line, message) in cases {
            assert_eq!(mistake(line), message, "{line}");
        }
    }

    #[test]
    fn an_account_is_a_safe_path_segment_wherever_it_comes_from() {
        assert!(mistake("token ../stop").contains("is no account name"));
        assert!(mistake("token ~").contains("is no account name"));
        assert!(mistake("token -").contains("is no account name"));
        let line = ["token".into()];
        let from_variable = |value: &str| parse(&line, Some(OsStr::new(value)));
        assert_eq!(from_variable("corp"), Ok(token(named("corp"), None, None)));
        assert!(from_variable("a/b").unwrap_err().to_string().starts_with("KEYFOB_ACCOUNT: "));
    }

    #[test]
    fn the_command_line_goes_before_the_variable() {
        let line = ["token".into(), "prod".into()];
        assert_eq!(parse(&line, Some(OsStr::new("corp"))), Ok(token(named("prod"), None, None)));
    }

    #[test]
    fn a_strange_argument_cannot_act_on_the_terminal() {
        let line = ["\x1b[2J\u{202e}".into()];
        let message = parse(&line, None).unwrap_err().to_string();
        assert!(message.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{message:?}");
    }
}
