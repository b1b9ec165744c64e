//! The authorization code grant (RFC 6749 §4.1, RFC 7636, RFC 8252): a person answers in a browser, which comes back to
//! this machine with a code.
//!
//! The thing to get wrong: a code is sent to the token endpoint once, whatever comes of it. An exchange whose answer got
//! lost ends the login; the issuer may take a second one for a theft.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use crate::clock::{Clock, Moment};
use crate::grant::device_code::DeviceCode;
use crate::grant::issuer::Issuer;
use crate::grant::loopback::{Heard, Listening, Loopback, Pages, RedirectUri};
use crate::grant::{
    Adoption, Attendance, Exchange, Flow, Login, NotTheRedirect, Pasted, Pending, Prompt, Renewal, Revoked,
    TokenSource, Unread, Wanted,
};
use crate::oauth::authorization::{Asked, Attempt, Reading};
use crate::oauth::error::Refusal;
use crate::oauth::{CodeExchange, token_endpoint};
use crate::token::answered::Answered;
use crate::token::device_login::DeviceLogin;
use crate::token::failure::Failure;
use crate::token::{RefreshToken, TokenSet};

/// How long a person may take. The port is open, and the state good, for as long.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Nobody pastes faster than one address is looked at.
const MOST_PASTES: usize = 1;

/// What an account says about its logins in a browser.
#[derive(Clone, Debug, Default)]
pub struct BrowserLogin {
    /// Where the browser is sent back to, if not to where the issuer says or a port of our own choice.
    pub redirect_uri: Option<RedirectUri>,
    /// What the browser shows at the end.
    pub pages: Pages,
    /// What goes with a code.
    pub code_exchange: CodeExchange,
}

/// Obtains tokens by a person in front of a browser.
#[derive(Debug)]
pub(crate) struct AuthorizationCode {
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) browser: BrowserLogin,
}

impl TokenSource for AuthorizationCode {
    fn attendance(&self) -> Attendance {
        self.by_code().attendance()
    }

    fn renew(&self, refresh: Option<RefreshToken>, wanted: Wanted) -> Pending<Result<Renewal, Failure>> {
        self.by_code().renew(refresh, wanted)
    }

    fn read(&self, answered: &Answered, refresh: &RefreshToken) -> Result<TokenSet, Unread> {
        self.by_code().read(answered, refresh)
    }

    fn begin_login(&self, flow: Flow) -> Pending<Result<Login, Failure>> {
        match flow {
            Flow::Configured => Box::pin(begin(Arc::clone(&self.issuer), self.browser.clone())),
            Flow::DeviceCode => self.by_code().begin_login(flow),
        }
    }

    /// What can be gone on with was begun by a code: a browser finds nobody at the old port.
    fn resume_login(&self, login: DeviceLogin) -> Result<Login, Failure> {
        self.by_code().resume_login(login)
    }

    fn begins_anew(&self) -> bool {
        self.by_code().begins_anew()
    }

    fn adopt(&self, refresh: SecretString) -> Adoption {
        self.by_code().adopt(refresh)
    }

    fn revoke(&self, tokens: TokenSet) -> Pending<Result<Revoked, Failure>> {
        self.by_code().revoke(tokens)
    }
}

impl AuthorizationCode {
    /// Returns the same source for a person who enters a code. Once they have signed in, it is the same login.
    fn by_code(&self) -> DeviceCode {
        DeviceCode(Arc::clone(&self.issuer))
    }
}

/// What a browser, or a person by hand, brought back.
#[derive(Debug)]
enum Answer {
    Code(SecretString),
    Refused(Refusal),
}

/// Begins a login in a browser. The port is ours before its number is told to anybody.
async fn begin(issuer: Arc<Issuer>, browser: BrowserLogin) -> Result<Login, Failure> {
    let known = issuer.known().await?;
    let redirect_uri = browser.redirect_uri.or_else(|| known.redirect_uri.clone()).unwrap_or_default();
    let proof_key = issuer.proof_key(&known).await?;
    let loopback = Loopback::bind(&redirect_uri, browser.pages).await?;
    let attempt = Attempt::new(Asked {
        endpoints: &known.endpoints,
        client_id: &known.client_id,
        redirect_uri: loopback.redirect_uri(),
        target: &known.target,
        extra: &issuer.extra.authorization,
        proof_key: proof_key.as_ref(),
    })
    .map_err(|error| error.classify())?;
    // Before anybody is asked: who has signed in should not hear of a secret that is missing.
    let credentials = issuer.credentials(&known).await?;

    let until = issuer.clock.now().moment.after(LIMIT);
    let prompt = Prompt::Visit { url: attempt.url() };
    let (pasting, pasted) = mpsc::channel(MOST_PASTES);
    let reader = attempt.clone();
    let mut listening = loopback.listen(move |query| heard(&reader, query));
    let answered = async move {
        let code = match answer(&mut listening, pasted, &attempt, (&issuer.clock, until)).await {
            Ok(Answer::Code(code)) => code,
            Ok(Answer::Refused(refusal)) => {
                let failure = refusal.in_redirect(&attempt.host());
                listening.conclude(Err(&failure));
                return Err(failure);
            }
            Err(failure) => return Err(failure),
        };
        let exchange: Exchange = Box::pin(async move {
            let what = token_endpoint::Exchange::AuthorizationCode {
                code: &code,
                attempt: &attempt,
                sends: browser.code_exchange,
            };
            let outcome = issuer.exchange(&known, &credentials, what, &Wanted::Own).await;
            let outcome = outcome.map_err(|error| error.classify(what.presented()));
            match &outcome {
                Err(_) if issuer.binding.has_taught() => listening.conclude_anew(),
                Ok(_) | Err(_) => listening.conclude(outcome.as_ref().map(|_| ())),
            }
            outcome
        });
        Ok(exchange)
    };
    Ok(Login { prompt, until, answered: Box::pin(answered), pasting: Some(pasting), resumable: None })
}

/// Says what a callback is, to the listener.
fn heard(attempt: &Attempt, query: &str) -> Heard<Answer> {
    match attempt.read(query) {
        Reading::Code(code) => Heard::Answer(Answer::Code(code)),
        Reading::Refused(refusal) => Heard::Answer(Answer::Refused(refusal)),
        Reading::Stray(why) | Reading::Foreign(why) => {
            tracing::info!(why, "a callback changed nothing");
            Heard::Stray(why)
        }
    }
}

/// Waits for the browser, or for a person who brings what it was sent to.
async fn answer(
    listening: &mut Listening<Answer>,
    mut pasted: mpsc::Receiver<Pasted>,
    attempt: &Attempt,
    (clock, until): (&Clock, Moment),
) -> Result<Answer, Failure> {
    loop {
        tokio::select! {
            answer = listening.answer() => return Ok(answer),
            Some(Pasted { url, reply }) = pasted.recv() => {
                let read = read_pasted(attempt, &url);
                // Whoever pasted it may have gone: what they brought is good all the same.
                reply.send(read.as_ref().map(|_| ()).map_err(|not| *not)).unwrap_or_default();
                if let Ok(answer) = read {
                    return Ok(answer);
                }
            }
            () = clock.sleep_until(until) => {
                let message = "nobody finished the login in the browser within 5 minutes";
                return Err(Failure::Refused { message: message.into() });
            }
        }
    }
}

fn read_pasted(attempt: &Attempt, url: &SecretString) -> Result<Answer, NotTheRedirect> {
    let text = url.expose_secret().trim();
    let query = text
        .strip_prefix(attempt.redirect_uri())
        // A browser adds the slash where a redirect URI has no path.
        .and_then(|rest| rest.strip_prefix("/?").or_else(|| rest.strip_prefix('?')))
        .and_then(|query| query.split('#').next())
        .ok_or(NotTheRedirect(
            "that is not where the issuer sends this login's browser: paste the whole address that it ended at",
        ))?;
    match attempt.read(query) {
        Reading::Code(code) => Ok(Answer::Code(code)),
        Reading::Refused(refusal) => Ok(Answer::Refused(refusal)),
        Reading::Stray(_) => Err(NotTheRedirect(
            "that address is not the end of this login: paste the one from the page that was opened last",
        )),
        Reading::Foreign(_) => Err(NotTheRedirect("that address is from another issuer: begin a new login")),
    }
}

#[cfg(test)]
mod tests;
