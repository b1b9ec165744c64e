//! The ways to obtain tokens, behind one trait: a file per grant.
//!
//! A [`TokenSource`] has no state that matters: what is held, when it is renewed and who waits belongs to the owner
//! task of the account. `renew` cannot ask a person; only `begin_login` can.

pub mod authorization_code;
pub mod binding;
pub(crate) mod client_credentials;
pub mod command;
pub(crate) mod device_code;
pub(crate) mod issuer;
pub mod loopback;
pub mod program;

mod client_secret;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use url::Url;

use crate::clock::Moment;
use crate::token::answered::Answered;
use crate::token::device_login::DeviceLogin;
use crate::token::failure::Failure;
use crate::token::{RefreshToken, Target, TokenSet};

/// A future that a source hands out. It owns what it needs, so that no caller's end cancels it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A way to obtain tokens for one account.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Tells whether tokens can be had with neither a person nor a refresh token.
    fn attendance(&self) -> Attendance;

    /// Obtains tokens without a person, or gets all ready to obtain them with a refresh token. Bounded in time by itself;
    /// until it is done nothing is spent, so that it can be dropped.
    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>>;

    /// Reads the answer to a renewal with a refresh token that an earlier daemon did not get to read.
    fn read(&self, _answered: &Answered, _refresh: &RefreshToken) -> Result<TokenSet, Unread> {
        let failure = Failure::misconfigured("the account has no refresh tokens any more");
        Err(Unread { failure, successor: None })
    }

    /// Starts asking a person. Bounded in time by itself.
    fn begin_login(&self, flow: Flow) -> Pending<Result<Login, Failure>>;

    /// Goes on with a device login that an earlier daemon began, if this source has such logins.
    fn resume_login(&self, _: DeviceLogin) -> Result<Login, Failure> {
        Err(Failure::Refused { message: "the login ended with the daemon that began it".into() })
    }

    /// Tells, once, whether the login that has just failed has shown how another one goes well: then it is begun anew without
    /// anybody asking for it.
    fn begins_anew(&self) -> bool {
        false
    }

    /// Gets all ready to take over a refresh token that another client obtained from the same issuer: it is exchanged at
    /// once, so that the other's copy of a rotating token is dead from there on and not at some later time. Bounded in time
    /// by itself; until it is done nothing is spent, so that it can be dropped.
    fn adopt(&self, refresh: SecretString) -> Adoption;

    /// Asks the issuer to take tokens back (RFC 7009). Bounded in time by itself.
    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>>;
}

/// What a renewal without a person comes to.
pub enum Renewal {
    /// The tokens: nothing was presented that could be spent.
    Obtained(Box<TokenSet>),
    /// A request with a refresh token.
    Ready(Rotation),
}

/// A refresh token of another client, bound to the origin that it goes to, and the request with it.
pub type Adoption = Pending<Result<(RefreshToken, Rotation), Failure>>;

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Obtained(_) => "Obtained",
            Self::Ready(_) => "Ready",
        })
    }
}

#[cfg(test)]
impl Renewal {
    /// Goes through with it, with nobody who writes down what comes.
    pub(crate) async fn tokens(self) -> Result<TokenSet, Failure> {
        match self {
            Self::Obtained(tokens) => Ok(*tokens),
            Self::Ready(Rotation { send, read }) => read(&send.await?).map_err(|unread| unread.failure),
        }
    }
}

/// A request with a refresh token that is ready to be sent: all that can fail without spending it has been done.
pub struct Rotation {
    /// Sends it, once, and returns the whole answer, whatever it says. Bounded in time by itself; not to be dropped once it
    /// has been polled.
    pub send: Pending<Result<Answered, Failure>>,
    /// Reads the answer.
    pub read: Reader,
}

/// Reads the answer to a renewal.
pub type Reader = Box<dyn FnOnce(&Answered) -> Result<TokenSet, Unread> + Send>;

/// An answer brought no tokens that can be used.
#[derive(Debug)]
pub struct Unread {
    /// Why.
    pub failure: Failure,
    /// The refresh token that it has all the same: the one that was presented may be spent.
    pub successor: Option<RefreshToken>,
}

/// Whether a person is needed when there is no refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// Tokens can be had at any time.
    Unattended,
    /// A person must log in first.
    Person,
}

/// Which tokens a renewal should bring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The account's own: for the target of its settings.
    Own,
    /// For another target, by the same login.
    Other(Target),
}

impl Wanted {
    /// Returns the target that is asked for, `own` being the account's.
    pub(crate) fn target<'a>(&'a self, own: &'a Target) -> &'a Target {
        self.other().unwrap_or(own)
    }

    /// Returns the target, if it is not the account's own.
    pub(crate) fn other(&self) -> Option<&Target> {
        match self {
            Self::Own => None,
            Self::Other(target) => Some(target),
        }
    }
}

/// In which way a person logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// In the way of the account's grant.
    Configured,
    /// By a code that they enter on another device (RFC 8628), whatever the grant.
    DeviceCode,
}

/// A login that waits for a person.
pub struct Login {
    /// What they should do.
    pub prompt: Prompt,
    /// When the issuer, or we, stop waiting.
    pub until: Moment,
    /// Ends when they have answered, or at `until`.
    pub answered: Pending<Result<Exchange, Failure>>,
    /// Takes what a person brings by hand, where the login can do something with it.
    pub pasting: Option<mpsc::Sender<Pasted>>,
    /// What a later daemon needs in order to go on with it, as it is now, where that can be done at all.
    pub resumable: Option<watch::Receiver<DeviceLogin>>,
}

/// The exchange of a person's answer for tokens. It is made once: an answer is good for one exchange.
pub type Exchange = Pending<Result<TokenSet, Failure>>;

/// Returns an exchange that has happened already.
pub(crate) fn exchanged(tokens: TokenSet) -> Exchange {
    Box::pin(std::future::ready(Ok(tokens)))
}

/// The URL that a person's browser was redirected to, brought by hand because the browser is on another machine.
pub struct Pasted {
    /// The URL. It holds the authorization code.
    pub url: SecretString,
    /// Whether it is the one that the login waits for.
    pub reply: oneshot::Sender<Result<(), NotTheRedirect>>,
}

/// A pasted text is not what a login waits for. The login goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTheRedirect(pub &'static str);

/// What a person should do.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Enter a code on a page, on any device (RFC 8628 §3.3).
    EnterCode {
        /// The page.
        verification_uri: Url,
        /// The page with the code in it.
        verification_uri_complete: Option<Url>,
        /// The code.
        user_code: String,
    },
    /// Open a page in a browser, which comes back to this machine (RFC 8252 §4.1).
    Visit {
        /// The page.
        url: Url,
    },
}

/// What the issuer did about a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It took the tokens back.
    Yes,
    /// It cannot: it has no revocation endpoint, or none for tokens of this type.
    Unsupported,
}
