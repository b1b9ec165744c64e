//! Why a command failed, as one line for a person and one exit code for a script.
//!
//! Each line says what to do next. The thing to get wrong: a tool shows this line to its user, often four times, so it
//! must be one line and hold nothing of a token.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::error::{ErrorBody, Exit};
use keyfob_protocol::paths::NoHome;

use crate::answer::Answer;
use crate::arguments::mistake::Mistake;
use crate::autostart;
use crate::connection;
use crate::display;
use crate::login::NotSignedIn;
use crate::passphrase;
use crate::setup;
use crate::token::NoToken;

/// The exit code of a program that Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong.
    #[error(transparent)]
    Usage(#[from] Mistake),
    /// It is not known where the socket is.
    #[error(transparent)]
    NoHome(#[from] NoHome),
    /// Nobody answers, and no daemon could be started.
    #[error(transparent)]
    Start(#[from] autostart::Error),
    /// There is no answer.
    #[error("{}", unreachable(.socket, .error))]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// Why.
        error: connection::Error,
    },
    /// The daemon answered with an error.
    #[error("{0}")]
    Refused(Box<ErrorBody>),
    /// The daemon answered with something else.
    #[error(
        "keyfobd answered {status} in words that this keyfob does not know; install both of the same version"
    )]
    Unexplained {
        /// The HTTP status.
        status: u16,
    },
    /// The daemon's token is none.
    #[error(transparent)]
    NoToken(#[from] NoToken),
    /// What there is to say could not be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// Nobody is signed in.
    #[error(transparent)]
    NotSignedIn(#[from] NotSignedIn),
    /// The user pressed Ctrl-C.
    #[error("cancelled")]
    Interrupted,
    /// The user pressed Ctrl-C after they had signed in.
    #[error("too late to cancel: you have signed in; to sign out again run: keyfob logout {0}")]
    InterruptedLate(AccountName),
    /// The user pressed Ctrl-C, and the daemon does not know of it.
    #[error("cancelled, but the login may go on: {0}")]
    InterruptedAlone(Box<Self>),
    /// The daemon is still there.
    #[error("keyfobd (pid {0}) is still finishing its work; to end it at once run: kill {0}")]
    StillRunning(u32),
    /// Another program could not be set up.
    #[error(transparent)]
    Setup(#[from] setup::error::Error),
    /// The session of another client was not taken over, and nobody says why.
    #[error("the session was not taken over; run: keyfob status")]
    NotTakenOver,
    /// There is no passphrase to lock or unlock with.
    #[error(transparent)]
    Passphrase(#[from] passphrase::Error),
    /// Signals cannot be received.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(io::Error),
}

impl Failure {
    /// Reads the error that an answer is.
    pub(crate) fn refused(answer: &Answer) -> Self {
        match serde_json::from_slice::<ErrorBody>(&answer.body) {
            Ok(body) => Self::said(body),
            Err(_) => Self::Unexplained { status: answer.status },
        }
    }

    /// Makes what the daemon says a failure that can be shown.
    pub(crate) fn said(mut body: ErrorBody) -> Self {
        body.message = display::text(&body.message);
        body.hint = body.hint.as_deref().map(display::text);
        body.details = body.details.iter().map(|detail| display::text(detail)).collect();
        Self::Refused(Box::new(body))
    }

    /// Drops the lines below the first.
    pub(crate) fn in_one_line(mut self) -> Self {
        if let Self::Refused(body) = &mut self {
            body.details.clear();
        }
        self
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        let exit = match self {
            Self::Usage(_) => Exit::Usage,
            Self::NoHome(_) | Self::Setup(_) => Exit::Configuration,
            Self::Start(error) => error.exit(),
            Self::Unreachable { error, .. } => exit_of(error),
            Self::Refused(body) => body.error.exit(),
            Self::NotSignedIn(reason) => reason.exit(),
            Self::Passphrase(error) => return error.code(),
            Self::Unexplained { .. }
            | Self::NoToken(_)
            | Self::Output(_)
            | Self::StillRunning(_)
            | Self::NotTakenOver
            | Self::Signals(_) => Exit::Unavailable,
            Self::Interrupted | Self::InterruptedLate(_) | Self::InterruptedAlone(_) => return INTERRUPTED,
        };
        exit as u8
    }

    /// Returns the line to show.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let line = display::line(&self.to_string());
        let next_attempt = self.body().and_then(|body| body.retry_at);
        match next_attempt.and_then(|moment| display::until(moment, now)) {
            Some(time) => format!("{line} (next attempt in {time})"),
            None => line,
        }
    }

    /// Returns the lines below, where there is more than one thing wrong.
    pub(crate) fn details(&self) -> &[String] {
        if let Self::Setup(error) = self {
            return error.details();
        }
        self.body().map_or(&[], |body| &body.details)
    }

    fn body(&self) -> Option<&ErrorBody> {
        if let Self::Refused(body) = self { Some(body) } else { None }
    }
}

fn unreachable(socket: &Path, error: &connection::Error) -> String {
    use connection::Error;
    let socket = socket.display();
    match error {
        Error::Absent => format!("no daemon answers at {socket}; run: keyfobd"),
        Error::Denied => {
            format!("{socket} belongs to another user; unset KEYFOB_SOCKET, or set it to your own")
        }
        Error::Unsafe(why) => {
            format!("{socket} was not used: {why}; unset KEYFOB_SOCKET, or set it to your own")
        }
        Error::LongPath => format!("{socket} is too long for a socket; set KEYFOB_SOCKET to a shorter path"),
        Error::Late => {
            "keyfobd did not answer in time; try again, and if that fails too run: keyfob stop".to_owned()
        }
        Error::Closed => "keyfobd hung up before its answer was complete; try again".to_owned(),
        Error::Malformed(malformed) => {
            format!(
                "what listens at {socket} does not speak as keyfobd: {malformed}; install both of the same version"
            )
        }
        Error::Io(error) => format!("cannot talk to keyfobd at {socket}: {error}; run: keyfobd"),
    }
}

fn exit_of(error: &connection::Error) -> Exit {
    use connection::Error;
    match error {
        Error::Absent => Exit::NoDaemon,
        Error::Denied | Error::Unsafe(_) => Exit::Denied,
        Error::LongPath => Exit::Configuration,
        Error::Late | Error::Closed | Error::Malformed(_) | Error::Io(_) => Exit::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use keyfob_protocol::error::ErrorCode;

    use super::*;
    use crate::answer::MediaType;

    fn refused(body: &str) -> Failure {
        Failure::refused(&Answer { status: 503, media_type: MediaType::Json, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn what_the_daemon_says_is_one_harmless_line_with_the_time_of_the_next_attempt() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let failure = refused(
            r#"{"error":"unavailable","message":"the issuer said \u001b[2J\nno","hint":"wait",
                "retry_at":"2026-11-21T12:00:12Z"}"#,
        );
        assert_eq!(failure.line(now), "the issuer said [2J no; wait (next attempt in 12 s)");
    }

    #[test]
    fn an_answer_in_unknown_words_is_temporary_trouble() {
        let failure = refused("<html>");
        assert!(matches!(failure, Failure::Unexplained { status: 503 }));
        assert_eq!(failure.code(), 4);
    }

    #[test]
    fn a_known_error_keeps_its_exit_code() {
        let failure = refused(r#"{"error":"denied","message":"m","hint":null,"retry_at":null}"#);
        assert!(matches!(&failure, Failure::Refused(body) if body.error == ErrorCode::Denied));
        assert_eq!(failure.code(), 6);
    }

    #[test]
    fn a_long_message_is_cut_and_a_strange_path_is_shown_on_the_same_line() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let message = "x".repeat(10_000);
        let failure =
            refused(&format!(r#"{{"error":"internal","message":"{message}","hint":null,"retry_at":null}}"#));
        assert!(failure.line(now).len() < 300);
        let socket = PathBuf::from("/a\n\x1b[2Jb");
        let failure = Failure::Unreachable { socket, error: connection::Error::Absent };
        assert_eq!(failure.line(now), "no daemon answers at /a [2Jb; run: keyfobd");
    }
}
