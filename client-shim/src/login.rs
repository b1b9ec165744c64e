//! `keyfob login`: shows what the daemon's login asks of a person, and follows it to its end.
//!
//! The login is the daemon's: it goes on without us, and others may watch it too. The thing to get wrong: Ctrl-C must
//! end it there, not only here, and a link must not be shown for a login that is long over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::error::{ErrorCode, Exit};
use keyfob_protocol::login::{LoginPrompt, LoginState, LoginStatus, PastedRedirect};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::arguments::login::{LoginOptions, Opening, Way};
use crate::browser::{self, Seat};
use crate::client::{self, Client};
use crate::clock::{Deadline, now, pause};
use crate::connection::{Error, Method, Request};
use crate::display;
use crate::environment::Person;
use crate::failure::{Failure, INTERRUPTED};
use crate::paste::{Input, Line, Paste};
use crate::prompt::{self, Occasion, Visit};
use crate::screen::Screen;

/// How long the daemon may take to start a login: it answers before it asks the issuer.
const START: Duration = Duration::from_secs(20);

/// How long one poll waits for a change; below what the daemon allows.
const POLL_WAIT: Duration = Duration::from_secs(25);

/// How long the daemon may take to answer beyond the wait that it was asked for.
const MARGIN: Duration = Duration::from_secs(10);

/// How often the time that is left is shown, and Ctrl-C looked for if its signal came at a bad moment.
const TICK: Duration = Duration::from_secs(1);

/// How often standard input is looked at while somebody pastes: a person should not notice.
const PASTE_TICK: Duration = Duration::from_millis(100);

/// How long the daemon may take to judge what was pasted.
const JUDGING: Duration = Duration::from_secs(10);

/// How long a login is followed. Issuers end theirs after half an hour at most.
const LONGEST_LOGIN: Duration = Duration::from_secs(60 * 60);

/// How long the daemon may take to cancel.
const CANCELLING: Duration = Duration::from_secs(5);

/// Why a login that is over has signed nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSignedIn {
    /// Somebody else ended it.
    #[error("the login was cancelled elsewhere; to start another run: keyfob login {0}")]
    Cancelled(AccountName),
    /// The daemon knows nothing of it any more.
    #[error("keyfobd was restarted and forgot the login; to start another run: keyfob login {0}")]
    Forgotten(AccountName),
    /// Nobody finished it.
    #[error("the login came to no end; to start another run: keyfob login {0}")]
    Endless(AccountName),
    /// The page that the issuer names must not be shown.
    #[error("the issuer's sign-in page is no https address, so it is not shown; ask who runs the issuer")]
    UnsafePage,
    /// The daemon asks for something that is not known here.
    #[error("this keyfob cannot show this login; install keyfob and keyfobd of the same version")]
    UnknownPrompt,
}

/// A login that is followed.
struct Follower<'a> {
    /// The daemon that has the login: another one would know nothing of it.
    client: Client,
    screen: Screen,
    machine: String,
    interrupted: Arc<AtomicBool>,
    person: &'a Person,
    opening: Opening,
    /// The page that was opened last: one tab is enough for each.
    opened: Option<String>,
    /// Standard input, if somebody is asked to paste.
    paste: Option<Paste>,
    /// What was answered by a paste. A login that is begun anew asks something else.
    answered: Option<LoginPrompt>,
}

/// Logs in.
pub(crate) fn run(options: LoginOptions, client: &Client, person: &Person) -> Result<(), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // In this order a second Ctrl-C ends the program at once.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&interrupted))
        .and_then(|_| flag::register(SIGINT, Arc::clone(&interrupted)))
        .map_err(Failure::Signals)?;
    let path = target(options.account.segment());
    let start = match options.way {
        Way::Configured | Way::Paste => path,
        Way::DeviceCode => path + "?flow=device_code",
    };
    let start = Request::new(Method::Post, start);
    let status = client.ask_for(&start, Deadline::after(START))?;
    let mut follower = Follower {
        client: client.running(),
        screen: Screen::look(options.qr_code, person),
        machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        interrupted,
        person,
        opening: options.opening,
        opened: None,
        paste: (options.way == Way::Paste).then(Paste::begin),
        answered: None,
    };
    let outcome = follower.follow(status);
    // What comes next must not stand behind the changing line.
    follower.screen.rewrite("")?;
    let LoginStatus { account, warning, .. } = outcome?;
    let warning = warning.map(|warning| format!("warning: {}\n", display::text(&warning)));
    follower.screen.say(&format!("signed in to {account}\n{}", warning.unwrap_or_default()))
}

impl NotSignedIn {
    /// Returns the shim's exit code for this failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Cancelled(_) | Self::Forgotten(_) | Self::Endless(_) => Exit::LoginRequired,
            Self::UnsafePage => Exit::Denied,
            Self::UnknownPrompt => Exit::Unavailable,
        }
    }
}

impl Follower<'_> {
    fn follow(&mut self, mut status: LoginStatus) -> Result<LoginStatus, Failure> {
        let deadline = Deadline::after(LONGEST_LOGIN);
        self.show(&status)?;
        loop {
            match status.login {
                LoginState::Starting | LoginState::Asking { .. } | LoginState::Exchanging => {}
                LoginState::SignedIn => return Ok(status),
                LoginState::Failed { error } => return Err(Failure::said(error)),
                LoginState::Cancelled => return Err(NotSignedIn::Cancelled(status.account).into()),
                LoginState::Idle => return Err(NotSignedIn::Forgotten(status.account).into()),
                LoginState::Unknown => return Err(Failure::Unexplained { status: 200 }),
            }
            if deadline.left().is_none() {
                return Err(NotSignedIn::Endless(status.account).into());
            }
            let next = self.next(&status)?;
            if next.revision != status.revision || next.login != status.login {
                self.show(&next)?;
            } else {
                // A daemon that does not wait as it was asked to is not asked without end.
                pause(TICK);
            }
            status = next;
        }
    }

    /// Waits for a change, or until the daemon says that there was none.
    fn next(&mut self, status: &LoginStatus) -> Result<LoginStatus, Failure> {
        let deadline = Deadline::after(POLL_WAIT + MARGIN);
        let path = target(status.account.as_str());
        let poll = format!("{path}?after={}&wait={}", status.revision, POLL_WAIT.as_secs());
        let mut connection = self.client.connect(deadline)?;
        let client = self.client.running();
        let unreachable = |error| client.unreachable(error);
        connection.send(&Request::new(Method::Get, poll)).map_err(unreachable)?;
        let answer = loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(self.cancel(&path));
            }
            let tick = if self.paste.is_some() { PASTE_TICK } else { TICK };
            if let Some(answer) =
                connection.answer_by(deadline.min(Deadline::after(tick))).map_err(unreachable)?
            {
                break answer;
            }
            self.take_paste(status)?;
            if deadline.left().is_none() {
                return Err(unreachable(Error::Late));
            }
            self.tick(&status.login)?;
        };
        if answer.is_success() { client::read(&answer) } else { Err(Failure::refused(&answer)) }
    }

    fn cancel(&self, path: &str) -> Failure {
        match self.client.ask_for(&Request::new(Method::Delete, path), Deadline::after(CANCELLING)) {
            // Tokens that are on their way are not thrown away.
            Ok(LoginStatus { account, login: LoginState::Exchanging | LoginState::SignedIn, .. }) => {
                Failure::InterruptedLate(account)
            }
            Ok(_) => Failure::Interrupted,
            Err(failure) => Failure::InterruptedAlone(Box::new(failure)),
        }
    }

    /// Takes what was pasted, as soon as the login asks for it.
    fn take_paste(&mut self, status: &LoginStatus) -> Result<(), Failure> {
        let (Some(paste), LoginState::Asking { prompt: prompt @ LoginPrompt::Visit { .. }, .. }) =
            (&self.paste, &status.login)
        else {
            return Ok(());
        };
        if self.answered.as_ref() == Some(prompt) {
            return Ok(());
        }
        let complaint = match paste.input() {
            Input::NotYet => return Ok(()),
            Input::End => {
                self.paste = None;
                return self.screen.say("\nthere is nothing more to read; Ctrl-C cancels the login\n");
            }
            Input::Line(Line::Cut) => {
                "the terminal has cut the address; save it in a file, and run: keyfob login --paste < FILE"
                    .to_owned()
            }
            Input::Line(Line::Text(url)) => match self.bring(&status.account, url) {
                Ok(_) => {
                    self.answered = Some(prompt.clone());
                    return Ok(());
                }
                // The login goes on: it was another text.
                Err(Failure::Refused(why)) if why.error == ErrorCode::BadRequest => why.to_string(),
                Err(failure) => return Err(failure),
            },
        };
        self.screen.say(&format!("{complaint}\naddress: "))
    }

    /// Brings the daemon what was pasted.
    fn bring(&self, account: &AccountName, url: String) -> Result<LoginStatus, Failure> {
        let body = serde_json::to_string(&PastedRedirect { url }).unwrap_or_default();
        let path = format!("{}/redirect", target(account.as_str()));
        self.client.ask_for(&Request::new(Method::Post, path).with(body), Deadline::after(JUDGING))
    }

    /// Opens a page in a browser where that is wanted; tells how it is visited.
    fn visit(&mut self, prompt: &LoginPrompt) -> Visit {
        let seat = Seat::of(self.person);
        let wants = match self.opening {
            Opening::Always => true,
            Opening::OnDesktop => seat == Seat::Desktop,
            Opening::Never => false,
        };
        match (prompt, &self.paste, seat) {
            (LoginPrompt::Visit { .. }, Some(_), _) => Visit::Paste,
            (LoginPrompt::Visit { url }, None, _)
                if wants && self.opened.as_ref() != Some(url) && browser::open(url, self.person) =>
            {
                self.opened = Some(url.clone());
                Visit::Opened
            }
            (_, _, Seat::Ssh) => Visit::FromElsewhere,
            (_, _, Seat::Desktop | Seat::Unknown) => Visit::Here,
        }
    }

    /// Shows a state that is new.
    fn show(&mut self, status: &LoginStatus) -> Result<(), Failure> {
        match &status.login {
            LoginState::Starting => self.screen.announce("asking the issuer for a way to sign in"),
            LoginState::Asking { prompt, expires_at } => {
                let visit = self.visit(prompt);
                let occasion = Occasion {
                    account: &status.account,
                    machine: &self.machine,
                    visit,
                    expires_at: *expires_at,
                    now: now(),
                };
                let drawing = prompt::link_to_scan(prompt).and_then(|link| self.screen.qr_code(link));
                self.screen.say(&prompt::words(prompt, occasion, drawing.as_deref())?)?;
                self.tick(&status.login)
            }
            LoginState::Exchanging => self.screen.announce("fetching the tokens"),
            LoginState::Idle
            | LoginState::SignedIn
            | LoginState::Failed { .. }
            | LoginState::Cancelled
            | LoginState::Unknown => Ok(()),
        }
    }

    /// Shows the time that is left.
    fn tick(&self, login: &LoginState) -> Result<(), Failure> {
        let LoginState::Asking { expires_at, prompt } = login else {
            return Ok(());
        };
        // The line belongs to the one who pastes.
        if self.paste.is_some() && matches!(prompt, LoginPrompt::Visit { .. }) {
            return Ok(());
        }
        let left = Duration::try_from(expires_at.duration_since(now())).unwrap_or_default();
        self.screen.rewrite(&format!("waiting for you, {} left (Ctrl-C cancels)", display::countdown(left)))
    }
}

fn target(account: &str) -> String {
    format!("/v1/accounts/{account}/login")
}
