//! `/v1/lock` and `/v1/unlock`: having keyfob forget its secrets, and take them up again.
//!
//! The thing to get wrong: whoever hangs up in the middle must not leave it half locked, nor get around the pause after a
//! wrong passphrase. So both run to their end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use keyfob_protocol::lock::{LONGEST_PASSPHRASE, LockRequest, LockState, LockStatus};
use secrecy::SecretString;
use tokio::task::JoinError;
use zeroize::Zeroizing;

use super::Api;
use super::error::{self, ApiError, bad_request};
use crate::cache::TokenCache;
use crate::cache::lock::{Latch, NotLocked, NotUnlocked};

/// Says whether keyfob is locked.
pub(super) async fn state(State(api): State<Arc<Api>>) -> Json<LockStatus> {
    Json(status(&api.cache))
}

/// Locks.
pub(super) async fn lock(
    State(api): State<Arc<Api>>,
    body: Result<Json<LockRequest>, JsonRejection>,
) -> Result<Json<LockStatus>, ApiError> {
    let passphrase = passphrase(body)?;
    let locking = tokio::spawn({
        let api = Arc::clone(&api);
        async move { api.cache.lock(passphrase).await }
    });
    locking.await.map_err(abandoned)?.map_err(|why| ApiError(not_locked(&why)))?;
    Ok(Json(status(&api.cache)))
}

/// Unlocks.
pub(super) async fn unlock(
    State(api): State<Arc<Api>>,
    body: Result<Json<LockRequest>, JsonRejection>,
) -> Result<Json<LockStatus>, ApiError> {
    let passphrase = passphrase(body)?;
    let unlocking = tokio::spawn({
        let api = Arc::clone(&api);
        async move { api.cache.unlock(passphrase).await }
    });
    unlocking.await.map_err(abandoned)?.map_err(|why| ApiError(not_unlocked(&why)))?;
    Ok(Json(status(&api.cache)))
}

/// Returns whether keyfob is locked, as it travels.
pub(super) fn status(cache: &TokenCache) -> LockStatus {
    let (latch, takes_passphrase) = cache.lock_status();
    let state = match latch {
        Latch::Open => LockState::Open,
        Latch::Locked => LockState::Locked,
    };
    LockStatus { state, takes_passphrase }
}

fn passphrase(body: Result<Json<LockRequest>, JsonRejection>) -> Result<Option<SecretString>, ApiError> {
    // Why it is no such body is not repeated: it may hold the passphrase.
    let Json(LockRequest { passphrase }) =
        body.map_err(|_| bad_request("the body must be {} or {\"passphrase\": ..}"))?;
    let Some(passphrase) = passphrase.map(Zeroizing::new) else { return Ok(None) };
    if passphrase.is_empty() || passphrase.len() > LONGEST_PASSPHRASE {
        return Err(bad_request(format!("a passphrase has 1 to {LONGEST_PASSPHRASE} bytes")));
    }
    Ok(Some(passphrase.as_str().into()))
}

fn not_locked(why: &NotLocked) -> ErrorBody {
    let unavailable = |message: String| ErrorBody::new(ErrorCode::Unavailable, message);
    match why {
        NotLocked::InMemory { account } => {
            let whose = account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
            let message = format!("the tokens{whose} are in memory alone, so they cannot be forgotten");
            ErrorBody::new(ErrorCode::Misconfigured, message)
                .with_hint("set [store] key = \"auto\", then run: keyfob stop")
        }
        NotLocked::Volatile { account, why } => {
            let message = format!(
                "the tokens of {account} are not on disk, so they cannot be forgotten: {}",
                why.with_remedy()
            );
            unavailable(message).with_hint("nothing is locked; mend it, then run: keyfob lock")
        }
        NotLocked::Busy { account } => {
            unavailable(format!("a renewal or a login of {account} is still under way"))
                .with_hint("nothing is locked; try again")
        }
        NotLocked::Changing => unavailable("the accounts are changing just now".to_owned())
            .with_hint("nothing is locked; try again"),
        NotLocked::Already => ErrorBody::new(
            ErrorCode::Locked,
            "keyfob is locked already, and what it takes to unlock it has not changed",
        )
        .with_hint("run: keyfob unlock"),
        NotLocked::Crowded => crowded(),
        NotLocked::Unhashed(error) => unavailable(error.to_string()).with_hint("try again"),
    }
}

fn not_unlocked(why: &NotUnlocked) -> ErrorBody {
    match why {
        NotUnlocked::PassphraseNeeded | NotUnlocked::WrongPassphrase => {
            ErrorBody::new(ErrorCode::Denied, why.to_string()).with_hint("run: keyfob unlock")
        }
        NotUnlocked::Store(error) => error::store(error),
        NotUnlocked::Crowded => crowded(),
        NotUnlocked::Unhashed(error) => {
            ErrorBody::new(ErrorCode::Unavailable, error.to_string()).with_hint("try again")
        }
    }
}

fn crowded() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unavailable, "too many others are about to lock or unlock keyfob")
        .with_hint("try again, or run: keyfob stop")
}

fn abandoned(error: JoinError) -> ApiError {
    tracing::error!(%error, "locking or unlocking ended abnormally");
    ApiError(ErrorBody::new(ErrorCode::Internal, "that ended abnormally").with_hint("see the daemon's log"))
}
