//! The API: every path on one page.
//!
//! The handlers translate and nothing else: they ask the cache and turn its answer into the protocol's. They cannot
//! reach an issuer or a store behind its back.

mod accounts;
pub mod audit;
pub mod confirm;
pub mod control;
mod description;
mod error;
mod import;
mod lock;
mod login;
pub mod peer;
mod policy;
pub mod serve;
pub mod socket;
mod throttle;
mod token;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use tower_service::Service;

use crate::cache::TokenCache;
use crate::flyte::keyring::Keyrings;
use audit::Audit;
use confirm::Confirmations;
use control::Control;

/// What the handlers work with.
pub struct Api {
    /// The accounts.
    pub cache: TokenCache,
    /// How the daemon is told to reload and to stop.
    pub control: Control,
    /// Where other clients keep their sessions.
    pub keyrings: Keyrings,
    /// Who was given a token lately, and who was not.
    pub audit: Audit,
    /// Programs that wait for a person to agree.
    pub confirmations: Confirmations,
    /// Whether nobody is let in for now, since as many are connected as may be.
    pub is_full: AtomicBool,
}

impl Api {
    /// Returns an API over these accounts, which nobody has asked for anything yet.
    pub fn new(cache: TokenCache, control: Control, keyrings: Keyrings) -> Self {
        let (audit, confirmations) = (Audit::default(), Confirmations::default());
        Self { cache, control, keyrings, audit, confirmations, is_full: AtomicBool::new(false) }
    }
}

/// Every path with its methods. `openapi.json` describes each of them; a test of [`description`] finds one that is missing.
fn paths() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    vec![
        ("/healthz", get(control::healthz)),
        ("/v1/version", get(control::version)),
        ("/v1/openapi.json", get(description::description)),
        ("/v1/lock", get(lock::state).post(lock::lock)),
        ("/v1/unlock", post(lock::unlock)),
        ("/v1/reload", post(control::reload)),
        ("/v1/stop", post(control::stop)),
        ("/v1/audit", get(audit::list)),
        ("/v1/confirmations", get(confirm::list)),
        ("/v1/confirmations/{id}", post(confirm::answer)),
        ("/v1/accounts", get(accounts::list)),
        ("/v1/accounts/{account}/token", get(token::token)),
        ("/v1/accounts/{account}/token/rejected", post(token::rejected)),
        ("/v1/accounts/{account}/login", get(login::state).post(login::begin).delete(login::cancel)),
        ("/v1/accounts/{account}/login/redirect", post(login::redirect)),
        ("/v1/accounts/{account}/import", get(import::list).post(import::import)),
        ("/v1/accounts/{account}/session", delete(login::log_out)),
    ]
}

/// Returns the router of the whole API, for [`answer`]. Each request has to know who asks, as `ConnectInfo<Peer>`.
pub(crate) fn router(api: Arc<Api>) -> Router {
    paths()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(api)
}

/// Answers a request. No answer may be kept by anything on its way: most hold a secret or say who has one.
///
/// The router has no layers for this: each would be a box and a copy of all that is below it for every request.
pub(crate) async fn answer(mut router: Router, request: Request) -> Response {
    let Ok(response) = router.call(request).await;
    let mut response = error::in_our_words(response).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
