//! `/v1/accounts/{a}/import`: the sessions that other clients keep, and taking one over.
//!
//! The thing to get wrong: the donor's copy is deleted only once what came of it is stored here, and never where the
//! exchange failed. So whoever asks may hang up, and the deletion still waits for the end. And a session is for one Flyte
//! endpoint: an account for another one would send it to a stranger.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::import::{
    Donors, ForeignClient, ForeignSession, ForeignSessions, ImportQuery, ImportRequest,
};
use keyfob_protocol::login::LoginStatus;
use secrecy::SecretString;

use super::Api;
use super::error::{self, ApiError, bad_request};
use super::login::status;
use crate::account::Account;
use crate::cache::entry::Entry;
use crate::cache::login::LoginProgress;
use crate::cache::view::Stored;
use crate::flyte::Endpoint;
use crate::flyte::keyring::{Client, Keyrings, Place, Session, Silent};

/// How long an exchange may take, and a renewal that is under way before it: each needs discovery and a request, of 15
/// seconds at most.
const EXCHANGE: Duration = Duration::from_secs(60);

/// Lists the sessions that there are.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: Result<Query<ImportQuery>, QueryRejection>,
) -> Result<Json<ForeignSessions>, ApiError> {
    let Query(ImportQuery { endpoint }) = query.map_err(bad_request)?;
    holds_secrets(&*api.cache.entry(&name)?)?;
    let found = api.keyrings.sessions(&endpoint).await.map_err(silent)?;
    let sessions = found.sessions.iter().map(|session| shown(session, found.latest())).collect();
    Ok(Json(ForeignSessions { sessions, is_locked: found.is_locked }))
}

/// Takes over the latest session.
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    body: Result<Json<ImportRequest>, JsonRejection>,
) -> Result<Json<LoginStatus>, ApiError> {
    let Json(ImportRequest { endpoint, donors }) = body.map_err(bad_request)?;
    let entry = api.cache.entry(&name)?;
    holds_secrets(&entry)?;
    is_for(&entry.view().account, &endpoint)?;
    let found = api.keyrings.sessions(&endpoint).await.map_err(silent)?;
    let refresh = found.latest().ok_or_else(|| none_found(&entry, found.is_locked))?;
    let begun = entry.import(refresh.clone()).await;
    let view = begun.map_err(|why| ApiError(error::no_login(&why, &entry.view())))?;
    match donors {
        Donors::Keep => {}
        Donors::Delete => {
            // Another session is still good, and belongs to whoever made it.
            let is_spent = |session: &&Session| session.refresh.is_none() || session.is_renewed_by(refresh);
            let spent = found.sessions.iter().filter(is_spent).cloned().collect();
            tokio::spawn(delete_once_stored(entry, api.keyrings.clone(), spent));
        }
    }
    Ok(Json(status(&view, api.cache.clock().now())))
}

/// Makes sure that keyfob is not locked: then no session is even read.
fn holds_secrets(entry: &Entry) -> Result<(), ApiError> {
    match entry.view().stored {
        Stored::Locked => Err(ApiError(error::locked())),
        Stored::Unread | Stored::Unreadable(_) | Stored::Durable | Stored::Volatile(_) => Ok(()),
    }
}

/// Makes sure that an account gets its tokens where the sessions for an endpoint came from. Only the endpoint can say
/// where that is, so an account that names its issuer itself does not do.
fn is_for(account: &Account, endpoint: &str) -> Result<(), ApiError> {
    let name = &account.name;
    let Some(own) = account.flyte() else {
        let message =
            format!("{name} names no Flyte endpoint, so nothing says that sessions for one are its own");
        let hint = "write flyte = \"dns:///HOST\" in place of its issuer, then run: keyfob reload";
        return Err(ApiError(ErrorBody::new(ErrorCode::Misconfigured, message).with_hint(hint)));
    };
    match Endpoint::parse(endpoint, own.plaintext()) {
        Ok(asked) if asked == *own => Ok(()),
        // What was asked for is left out: it is anybody's text.
        Ok(_) | Err(_) => {
            let message = format!("{name} is for the Flyte endpoint {own}, and for no other");
            let hint = format!("name {own}, or run: keyfob login {name}");
            Err(ApiError(ErrorBody::new(ErrorCode::BadRequest, message).with_hint(hint)))
        }
    }
}

/// Deletes the donors' copies when the exchange has succeeded, which it may have already.
async fn delete_once_stored(entry: Arc<Entry>, keyrings: Keyrings, sessions: Vec<Session>) {
    let mut view = entry.view();
    if view.login.is_pending() {
        view = entry.login_change(view.login_revision, EXCHANGE).await;
    }
    match (&view.login, &view.stored) {
        (LoginProgress::SignedIn, Stored::Durable) => {
            if let Err(error) = keyrings.delete(sessions).await {
                tracing::warn!(%error, "the sessions of other clients stay where they are");
            }
        }
        (
            LoginProgress::SignedIn,
            Stored::Unread | Stored::Unreadable(_) | Stored::Volatile(_) | Stored::Locked,
        ) => {
            tracing::warn!(
                account = %view.account.name,
                "the sessions of other clients stay where they are: what came of them is not on disk"
            );
        }
        (
            LoginProgress::Idle
            | LoginProgress::Starting
            | LoginProgress::Asking { .. }
            | LoginProgress::Exchanging
            | LoginProgress::Failed(_)
            | LoginProgress::Cancelled,
            _,
        ) => {}
    }
}

fn shown(session: &Session, latest: Option<&SecretString>) -> ForeignSession {
    ForeignSession {
        client: match session.client {
            Client::Flytekit => ForeignClient::Flytekit,
            Client::Flytectl => ForeignClient::Flytectl,
            Client::Flyte => ForeignClient::Flyte,
        },
        place: match &session.place {
            Place::Item(_) => "the keyring".to_owned(),
            Place::Entry { file, .. } => file.display().to_string(),
        },
        is_renewable: session.refresh.is_some(),
        is_next: latest.is_some_and(|latest| session.is_renewed_by(latest)),
    }
}

fn none_found(entry: &Entry, is_locked: bool) -> ApiError {
    let account = &entry.view().account.name;
    let (message, hint) = if is_locked {
        (
            "the keyring with the sessions of other clients is locked",
            format!("unlock it, or run: keyfob login {account}"),
        )
    } else {
        ("no other client has a session that can be taken over", format!("run: keyfob login {account}"))
    };
    ApiError(ErrorBody::new(ErrorCode::LoginRequired, message).with_hint(hint))
}

fn silent(silent: Silent) -> ApiError {
    ApiError(ErrorBody::new(ErrorCode::Unavailable, silent.to_string()).with_hint("try again"))
}
