//! `GET /v1/accounts`: what there is and how it does.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use keyfob_protocol::account::{
    AccessTokenStatus, AccountList, AccountState, AccountStatus, LastError, Persistence, RenewalStatus,
};
use keyfob_protocol::daemon::KeyKind;

use super::{Api, error, lock, login};
use crate::cache::entry::Entry;
use crate::cache::view::{Stored, View};
use crate::clock::Now;
use crate::token::state::{Held, Means, Renewal, SignedOut};

/// Lists every account with its state, lifetime, next renewal and last error.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<AccountList> {
    let entries = api.cache.loaded().await;
    let now = api.cache.clock().now();
    let store = api.cache.store().status();
    Json(AccountList {
        accounts: entries.iter().map(|entry| status(&api, entry, store.key, now)).collect(),
        default_account: api.cache.default_account(),
        store,
        lock: lock::status(&api.cache),
    })
}

fn status(api: &Api, entry: &Entry, key: KeyKind, now: Now) -> AccountStatus {
    let view = &*entry.view();
    let account = &view.account;
    AccountStatus {
        name: account.name.clone(),
        grant: account.grant(),
        issuer: account.issuer(),
        state: state(view, now),
        access_token: access_token(view, now),
        renewal: renewal(view.state.renewal(), now),
        persistence: persistence(&view.stored, key),
        persistence_note: persistence_note(&view.stored),
        login: login::progress(view, now),
        last_error: last_error(view),
        dropped: view.dropped,
        warnings: account
            .warnings()
            .into_iter()
            .chain(entry.warning())
            .chain(view.warning(now.moment))
            .chain(api.confirmations.warning(&account.name, now.moment))
            .collect(),
    }
}

fn state(view: &View, now: Now) -> AccountState {
    match &view.stored {
        Stored::Unreadable(_) | Stored::Locked => return AccountState::Locked,
        Stored::Unread => return AccountState::Unknown,
        Stored::Durable | Stored::Volatile(_) => {}
    }
    match view.state.held(now.moment) {
        Held::SignedIn(_) => AccountState::SignedIn,
        Held::SignedOut(SignedOut::Never) if view.state.means() == Means::Grant => AccountState::SignedIn,
        Held::SignedOut(SignedOut::Never | SignedOut::Expired) => AccountState::SignedOut,
        Held::SignedOut(SignedOut::ByUser) => AccountState::LoggedOut,
        Held::SignedOut(SignedOut::Refused) => AccountState::Refused,
        Held::SignedOut(SignedOut::AmbiguousRotation) => AccountState::AmbiguousRotation,
    }
}

fn access_token(view: &View, now: Now) -> Option<AccessTokenStatus> {
    match view.state.held(now.moment) {
        Held::SignedIn(tokens) if tokens.access.is_alive(now.moment) => Some(AccessTokenStatus {
            issued_at: now.wall_at(tokens.access.issued_at),
            expires_at: tokens.access.expires_at.map(|at| now.wall_at(at)),
        }),
        Held::SignedIn(_) | Held::SignedOut(_) => None,
    }
}

fn renewal(renewal: Renewal, now: Now) -> RenewalStatus {
    match renewal {
        Renewal::Due { at, failures, .. } => RenewalStatus::Due { at: now.wall_at(at), failures },
        Renewal::OnDemand { failures, .. } => RenewalStatus::OnDemand { failures },
        Renewal::InFlight { .. } => RenewalStatus::InFlight,
        Renewal::Impossible { .. } => RenewalStatus::Impossible,
    }
}

fn persistence(stored: &Stored, key: KeyKind) -> Persistence {
    match (stored, key) {
        (_, KeyKind::Memory) | (Stored::Volatile(_), _) => Persistence::Volatile,
        (Stored::Durable | Stored::Unread | Stored::Unreadable(_) | Stored::Locked, _) => {
            Persistence::Durable
        }
    }
}

fn persistence_note(stored: &Stored) -> Option<String> {
    match stored {
        Stored::Volatile(error) => Some(error.with_remedy()),
        Stored::Durable | Stored::Unread | Stored::Unreadable(_) | Stored::Locked => None,
    }
}

fn last_error(view: &View) -> Option<LastError> {
    let failure = view.state.trouble()?;
    Some(LastError { at: view.failed_at?, error: error::failure(failure, view) })
}
