//! From the cache's reasons to the protocol's: one exhaustive match per kind of reason.
//!
//! Each message names the account and each hint the next command, because a tool shows them out of context.

use axum::Json;
use axum::body::to_bytes;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use keyfob_protocol::error::{ErrorBody, ErrorCode};

use crate::account::registry::UnknownAccount;
use crate::cache::entry::{NoLogin, NoPaste};
use crate::cache::view::{Refusal, View};
use crate::clock::Now;
use crate::grant::Wanted;
use crate::store::StoreError;
use crate::token::Target;
use crate::token::failure::{Failure, Message, told};
use crate::token::state::{Means, Renewal, SignedOut, Unavailable};

/// An error on its way out.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) ErrorBody);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<UnknownAccount> for ApiError {
    fn from(unknown: UnknownAccount) -> Self {
        let hint = match unknown {
            UnknownAccount::NoAccounts => {
                "run: keyfob setup flyte, or add one to the configuration and run: keyfob reload"
            }
            UnknownAccount::NoDefault { .. } => "run: keyfob token ACCOUNT",
            UnknownAccount::Misspelt { .. } | UnknownAccount::NoSuchAccount { .. } => "run: keyfob status",
        };
        Self(ErrorBody::new(ErrorCode::UnknownAccount, unknown.to_string()).with_hint(hint))
    }
}

/// Answers a request for a path that does not exist.
pub(super) async fn no_such_path() -> ApiError {
    ApiError(ErrorBody::new(ErrorCode::NotFound, "no such path"))
}

/// Answers a request with a method that the path does not have.
pub(super) async fn no_such_method() -> Response {
    let body = ErrorBody::new(ErrorCode::BadRequest, "this path does not have this method");
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}

/// Gives an error that was not made here, such as that of a path that cannot be decoded, the form of all errors.
pub(super) async fn in_our_words(response: Response) -> Response {
    let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    let status = response.status();
    if !status.is_client_error() || response.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let words = to_bytes(response.into_body(), LONGEST_WORDS).await.unwrap_or_default();
    let message = Message::from(String::from_utf8_lossy(&words)).to_string();
    (status, Json(ErrorBody::new(ErrorCode::BadRequest, message))).into_response()
}

/// What the HTTP library says is a sentence.
const LONGEST_WORDS: usize = 1024;

/// Says that a reload overtook a request.
pub(super) fn changed() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "the settings of the account have changed meanwhile")
        .with_hint("try again")
}

/// Says that a request is wrong in itself. Why may quote it, and nothing in it may steer a terminal.
pub(super) fn bad_request(why: impl std::fmt::Display) -> ApiError {
    ApiError(ErrorBody::new(ErrorCode::BadRequest, Message::from(why.to_string()).to_string()))
}

/// Says why a client gets no token, or nothing done.
pub(super) fn refusal(refusal: &Refusal, view: &View, now: Now) -> ErrorBody {
    let account = &view.account.name;
    match refusal {
        Refusal::Unavailable(why) => unavailable(why, view, now),
        Refusal::InsufficientScope { missing } => {
            let message = format!("the login of {account} was not granted the scope {missing}");
            ErrorBody::new(ErrorCode::InsufficientScope, message)
                .with_hint(format!("add it to scopes, then run: keyfob login {account}"))
        }
        Refusal::NoRefreshToken => {
            let message = format!(
                "the issuer gave {account} no refresh token, so there are no tokens for another scope, audience or resource"
            );
            ErrorBody::new(ErrorCode::Misconfigured, message)
                .with_hint(format!("add \"offline_access\" to scopes, then run: keyfob login {account}"))
        }
        Refusal::Store(error) => store(error),
        Refusal::Locked => locked(),
        Refusal::Crowded => {
            ErrorBody::new(ErrorCode::Unavailable, format!("too many clients wait for {account}"))
                .with_hint("try again")
        }
        Refusal::Closing => closing(),
    }
}

/// Says why a client gets no token for what it asked for.
pub(super) fn token(why: &Refusal, wanted: &Wanted, view: &View, now: Now) -> ErrorBody {
    let mut body = refusal(why, view, now);
    let account = &view.account.name;
    // What is wrong may be the request alone: the account's own token is not concerned.
    if let (Wanted::Other(target), Refusal::Unavailable(Unavailable::Failed { failure, .. })) = (wanted, why)
    {
        body.message = format!("no token of {account} for {}: {failure}", told_target(target));
        if let Failure::Misconfigured { .. } | Failure::Refused { .. } = failure {
            body.hint = Some("ask for what the issuer gives to this client".to_owned());
        }
    }
    body
}

/// Names what makes a target another than the account's own.
pub(super) fn told_target(target: &Target) -> String {
    let scope = Some(target.scope.to_string()).filter(|scope| !scope.is_empty());
    let resources = target.resources.iter().map(|resource| format!("resource {resource}"));
    let parts = scope.map(|scope| format!("scope {scope}")).into_iter();
    let audience = target.audience.iter().map(|audience| format!("audience {audience}"));
    // It is the request's text: nothing in it may steer a terminal.
    Message::from(parts.chain(audience).chain(resources).collect::<Vec<_>>().join(", ")).to_string()
}

/// Says why there is no token, or none as fresh as asked for.
pub(super) fn unavailable(why: &Unavailable, view: &View, now: Now) -> ErrorBody {
    let account = &view.account.name;
    match why {
        Unavailable::LoginRequired(because) => login_required(*because, view),
        Unavailable::Failed { failure: failed, retry_at } => {
            let mut body = failure(failed, view);
            body.retry_at = Some(now.wall_at(*retry_at));
            body
        }
        Unavailable::Renewing => {
            let message = format!("the renewal of {account} takes longer than the client was ready to wait");
            ErrorBody::new(ErrorCode::Unavailable, message).with_hint("try again")
        }
        Unavailable::TooSoon { retry_at } => {
            let message =
                format!("{account} got a new token a moment ago, and its issuer makes them short-lived");
            let mut body = ErrorBody::new(ErrorCode::Unavailable, message).with_hint("try again");
            body.retry_at = Some(now.wall_at(*retry_at));
            body
        }
        Unavailable::NoIdToken => {
            let message = format!("the issuer gave {account} no ID token, or none that is still valid");
            ErrorBody::new(ErrorCode::Misconfigured, message)
                .with_hint(format!("add \"openid\" to scopes, then run: keyfob login {account}"))
        }
    }
}

fn login_required(because: SignedOut, view: &View) -> ErrorBody {
    let account = &view.account.name;
    let message = match (because, view.state.trouble()) {
        (SignedOut::Never, _) => format!("{account} is not signed in"),
        (SignedOut::ByUser, _) => format!("{account} is logged out"),
        (SignedOut::Expired, _) => format!("the login of {account} has expired"),
        (SignedOut::AmbiguousRotation, _) => format!(
            "the answer to a renewal of {account} got lost, and with it the refresh token that it brought"
        ),
        (SignedOut::Refused, None) => format!("the issuer has ended the login of {account}"),
        (SignedOut::Refused, Some(failure)) => {
            format!("the issuer has ended the login of {account}: {failure}")
        }
    };
    ErrorBody::new(ErrorCode::LoginRequired, message).with_hint(format!("run: keyfob login {account}"))
}

/// Says how a renewal failed.
pub(super) fn failure(failure: &Failure, view: &View) -> ErrorBody {
    let account = &view.account.name;
    match failure {
        Failure::Transient { message, .. } | Failure::Ambiguous { message } => {
            let hint = match view.state.renewal() {
                Renewal::Impossible { .. } => format!("run: keyfob login {account}"),
                Renewal::Due { .. } | Renewal::OnDemand { .. } | Renewal::InFlight { .. } => {
                    "keyfob tries again by itself; run: keyfob status".to_owned()
                }
            };
            ErrorBody::new(ErrorCode::Unavailable, format!("{account} could not be renewed: {message}"))
                .with_hint(hint)
        }
        // Without a login there is none to begin anew.
        Failure::Refused { .. } if view.state.means() == Means::Login => {
            login_required(SignedOut::Refused, view)
        }
        Failure::Misconfigured { message } | Failure::Refused { message } => {
            ErrorBody::new(ErrorCode::Misconfigured, format!("{account} cannot be renewed: {message}"))
                .with_hint("mend the configuration, then run: keyfob reload")
        }
        Failure::LoginRequired => login_required(SignedOut::Expired, view),
    }
}

/// Says how a login failed.
pub(super) fn login_failure(failure: &Failure, view: &View) -> ErrorBody {
    let account = &view.account.name;
    let (code, hint) = match failure {
        Failure::Transient { .. } | Failure::Ambiguous { .. } => {
            (ErrorCode::Unavailable, format!("try again: keyfob login {account}"))
        }
        Failure::Refused { .. } | Failure::LoginRequired => {
            (ErrorCode::LoginFailed, format!("try again: keyfob login {account}"))
        }
        Failure::Misconfigured { .. } => {
            (ErrorCode::Misconfigured, "mend the configuration, then run: keyfob reload".to_owned())
        }
    };
    ErrorBody::new(code, format!("the login to {account} failed: {failure}")).with_hint(hint)
}

/// Says why no login was started.
pub(super) fn no_login(why: &NoLogin, view: &View) -> ErrorBody {
    let account = &view.account.name;
    match why {
        NoLogin::NotNeeded => ErrorBody::new(
            ErrorCode::BadRequest,
            format!("{account} needs no login: it gets its tokens without a person"),
        )
        .with_hint(format!("run: keyfob token {account}")),
        NoLogin::Store(error) => store(error),
        NoLogin::Locked => locked(),
        NoLogin::Exchanging => {
            ErrorBody::new(ErrorCode::Unavailable, format!("another login to {account} is about to end"))
                .with_hint("try again")
        }
        NoLogin::Closing => closing(),
    }
}

/// Says why what a person pasted is of no use.
pub(super) fn no_paste(why: &NoPaste, view: &View) -> ErrorBody {
    let hint = match why {
        NoPaste::NotAsked => format!("run: keyfob login --paste {}", view.account.name),
        NoPaste::NotTheRedirect(_) => {
            "copy the whole address that the browser shows after you have signed in".to_owned()
        }
    };
    ErrorBody::new(ErrorCode::BadRequest, why.to_string()).with_hint(hint)
}

fn closing() -> ErrorBody {
    ErrorBody::new(ErrorCode::ShuttingDown, "the account is being closed").with_hint("try again")
}

/// Says that keyfob is locked.
pub(super) fn locked() -> ErrorBody {
    store(&StoreError::Withheld)
}

/// Says what is wrong with the store.
pub(super) fn store(error: &StoreError) -> ErrorBody {
    let (code, hint) = match error {
        StoreError::Locked { .. } => (ErrorCode::Locked, "then try again"),
        StoreError::Withheld => (ErrorCode::Locked, "run: keyfob unlock"),
        StoreError::File(_)
        | StoreError::NoRandomness(_)
        | StoreError::NoSpill
        | StoreError::Spilled
        | StoreError::Abandoned => {
            (ErrorCode::Unavailable, "keyfob tries again by itself; run: keyfob status")
        }
        StoreError::Corrupt { .. }
        | StoreError::DamagedJournal { .. }
        | StoreError::WrongKey { .. }
        | StoreError::NewerFormat { .. }
        | StoreError::TooLarge { .. } => (ErrorCode::Misconfigured, "run: keyfob status"),
    };
    ErrorBody::new(code, told(error)).with_hint(hint)
}
