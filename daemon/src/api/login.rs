//! `/v1/accounts/{a}/login` and `/session`: signing in and out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use keyfob_protocol::daemon::{LogoutReport, Revocation};
use keyfob_protocol::login::{
    LoginFlow, LoginPrompt, LoginQuery, LoginStart, LoginState, LoginStatus, MAX_POLL_WAIT, PastedRedirect,
};

use super::Api;
use super::error::{self, ApiError, bad_request};
use crate::cache::entry::LoggedOut;
use crate::cache::login::LoginProgress;
use crate::cache::view::View;
use crate::clock::Now;
use crate::grant::{Flow, Prompt, Revoked};

/// Starts a login, or joins the one that is pending.
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: Result<Query<LoginStart>, QueryRejection>,
) -> Result<Json<LoginStatus>, ApiError> {
    let Query(LoginStart { flow }) = query.map_err(bad_request)?;
    let flow = match flow {
        Some(LoginFlow::DeviceCode) => Flow::DeviceCode,
        None => Flow::Configured,
    };
    let entry = api.cache.entry(&name)?;
    let begun = entry.begin_login(flow).await;
    let view = begun.map_err(|why| ApiError(error::no_login(&why, &entry.view())))?;
    Ok(Json(status(&view, api.cache.clock().now())))
}

/// Takes the URL that a person's browser was redirected to.
pub(super) async fn redirect(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Result<Json<PastedRedirect>, JsonRejection>,
) -> Result<Json<LoginStatus>, ApiError> {
    // Why it is no such body is not repeated: it may hold the code.
    let Json(PastedRedirect { url }) = body.map_err(|_| bad_request("the body must be {\"url\": ..}"))?;
    let entry = api.cache.entry(&name)?;
    let view = entry.paste(url.into()).await.map_err(|why| ApiError(error::no_paste(&why, &entry.view())))?;
    Ok(Json(status(&view, api.cache.clock().now())))
}

/// Says how the login goes, at once or as soon as it has changed.
pub(super) async fn state(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: Result<Query<LoginQuery>, QueryRejection>,
) -> Result<Json<LoginStatus>, ApiError> {
    let Query(query) = query.map_err(bad_request)?;
    let entry = api.cache.entry(&name)?;
    let view = match query.after {
        Some(after) => {
            let wait = Duration::from_secs(query.wait.unwrap_or(MAX_POLL_WAIT).min(MAX_POLL_WAIT));
            entry.login_change(after, wait).await
        }
        None => entry.view(),
    };
    Ok(Json(status(&view, api.cache.clock().now())))
}

/// Cancels a pending login.
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<LoginStatus>, ApiError> {
    let view = api.cache.entry(&name)?.cancel_login().await;
    Ok(Json(status(&view, api.cache.clock().now())))
}

/// Logs out.
pub(super) async fn log_out(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<LogoutReport>, ApiError> {
    let entry = api.cache.entry(&name)?;
    let now = api.cache.clock().now();
    let refused = |why| ApiError(error::refusal(&why, &entry.view(), now));
    let (revocation, reason) = match entry.log_out().await.map_err(refused)? {
        LoggedOut::NothingHeld => (Revocation::NothingHeld, None),
        LoggedOut::Asked(Ok(Revoked::Yes)) => (Revocation::Revoked, None),
        LoggedOut::Asked(Ok(Revoked::Unsupported)) => (Revocation::Unsupported, None),
        LoggedOut::Asked(Err(failure)) => (Revocation::Failed, Some(failure.to_string())),
    };
    Ok(Json(LogoutReport { account: entry.view().account.name.clone(), revocation, reason }))
}

/// Returns the login of an account, as its watchers are told.
pub(super) fn status(view: &View, now: Now) -> LoginStatus {
    LoginStatus {
        account: view.account.name.clone(),
        revision: view.login_revision,
        login: progress(view, now),
        warning: view.warning(now.moment),
    }
}

/// Returns the login of an account as it travels.
pub(super) fn progress(view: &View, now: Now) -> LoginState {
    match &view.login {
        LoginProgress::Idle => LoginState::Idle,
        LoginProgress::Starting => LoginState::Starting,
        LoginProgress::Asking { prompt: asked, until } => {
            LoginState::Asking { prompt: prompt(asked), expires_at: now.wall_at(*until) }
        }
        LoginProgress::Exchanging => LoginState::Exchanging,
        LoginProgress::SignedIn => LoginState::SignedIn,
        LoginProgress::Failed(failure) => LoginState::Failed { error: error::login_failure(failure, view) },
        LoginProgress::Cancelled => LoginState::Cancelled,
    }
}

fn prompt(prompt: &Prompt) -> LoginPrompt {
    match prompt {
        Prompt::EnterCode { verification_uri, verification_uri_complete, user_code } => {
            LoginPrompt::EnterCode {
                verification_uri: verification_uri.to_string(),
                verification_uri_complete: verification_uri_complete.as_ref().map(ToString::to_string),
                user_code: user_code.clone(),
            }
        }
        Prompt::Visit { url } => LoginPrompt::Visit { url: url.to_string() },
    }
}
