//! `keyfob login`: shows what the daemon's login asks of a person, and follows it to its end.
//!
//! The login is the daemon's: it goes on without us, and others may watch it too. The thing to get wrong: Ctrl-C must
//! end it there, not only here, and a link must not be shown for a login that is long over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyfob_protocol::account::AccountName;
use keyfob_protocol::error::Exit;
use keyfob_protocol::login::{LoginState, LoginStatus};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::arguments::{Account, QrCode};
use crate::client::{self, Client};
use crate::clock::{Deadline, now, pause};
use crate::connection::{Error, Method, Request};
use crate::display;
use crate::environment::Environment;
use crate::failure::{Failure, INTERRUPTED};
use crate::prompt::{self, Occasion};
use crate::screen::Screen;

/// How long the daemon may take to start a login: it answers before it asks the issuer.
const START: Duration = Duration::from_secs(20);

/// How long one poll waits for a change; below what the daemon allows.
const POLL_WAIT: Duration = Duration::from_secs(25);

/// How long the daemon may take to answer beyond the wait that it was asked for.
const MARGIN: Duration = Duration::from_secs(10);

/// How often the time that is left is shown, and Ctrl-C looked for if its signal came at a bad moment.
const TICK: Duration = Duration::from_secs(1);

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
struct Follower {
    /// The daemon that has the login: another one would know nothing of it.
    client: Client,
    screen: Screen,
    machine: String,
    interrupted: Arc<AtomicBool>,
}

/// Logs in.
pub(crate) fn run(
    account: &Account,
    client: &Client,
    qr_code: QrCode,
    environment: &Environment,
) -> Result<(), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // In this order a second Ctrl-C ends the program at once.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&interrupted))
        .and_then(|_| flag::register(SIGINT, Arc::clone(&interrupted)))
        .map_err(Failure::Signals)?;
    let start = Request::new(Method::Post, target(account.segment()));
    let status = client.ask_for(&start, Deadline::after(START))?;
    let follower = Follower {
        client: client.running(),
        screen: Screen::look(qr_code, environment),
        machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        interrupted,
    };
    let outcome = follower.follow(status);
    // What comes next must not stand behind the changing line.
    follower.screen.rewrite("")?;
    let account = outcome?;
    follower.screen.say(&format!("signed in to {account}\n"))
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

impl Follower {
    fn follow(&self, mut status: LoginStatus) -> Result<AccountName, Failure> {
        let deadline = Deadline::after(LONGEST_LOGIN);
        self.show(&status)?;
        loop {
            match status.login {
                LoginState::Starting | LoginState::Asking { .. } | LoginState::Exchanging => {}
                LoginState::SignedIn => return Ok(status.account),
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
    fn next(&self, status: &LoginStatus) -> Result<LoginStatus, Failure> {
        let deadline = Deadline::after(POLL_WAIT + MARGIN);
        let path = target(status.account.as_str());
        let poll = format!("{path}?after={}&wait={}", status.revision, POLL_WAIT.as_secs());
        let mut connection = self.client.connect(deadline)?;
        let unreachable = |error| self.client.unreachable(error);
        connection.send(&Request::new(Method::Get, poll)).map_err(unreachable)?;
        let answer = loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(self.cancel(&path));
            }
            if let Some(answer) =
                connection.answer_by(deadline.min(Deadline::after(TICK))).map_err(unreachable)?
            {
                break answer;
            }
            if deadline.left().is_none() {
                return Err(unreachable(Error::Late));
            }
            self.tick(&status.login)?;
        };
        if answer.is_success() { client::read(&answer) } else { Err(Failure::refused(&answer)) }
    }

    fn cancel(&self, path: &str) -> Failure {
        match self.client.ask(&Request::new(Method::Delete, path), Deadline::after(CANCELLING)) {
            Ok(_) => Failure::Interrupted,
            Err(failure) => Failure::InterruptedAlone(Box::new(failure)),
        }
    }

    /// Shows a state that is new.
    fn show(&self, status: &LoginStatus) -> Result<(), Failure> {
        match &status.login {
            LoginState::Starting => self.screen.announce("asking the issuer for a way to sign in"),
            LoginState::Asking { prompt, expires_at } => {
                let occasion = Occasion {
                    account: &status.account,
                    machine: &self.machine,
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
        let LoginState::Asking { expires_at, .. } = login else {
            return Ok(());
        };
        let left = Duration::try_from(expires_at.duration_since(now())).unwrap_or_default();
        self.screen.rewrite(&format!("waiting for you, {} left (Ctrl-C cancels)", display::countdown(left)))
    }
}

fn target(account: &str) -> String {
    format!("/v1/accounts/{account}/login")
}
