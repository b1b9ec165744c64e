//! `GET /v1/accounts/{a}/token`: the question that all of this is for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use keyfob_protocol::token::{DEFAULT_WAIT, Header, MAX_WAIT, TokenQuery, TokenResponse};
use secrecy::ExposeSecret;

use super::Api;
use super::error::{self, ApiError, bad_request};
use crate::cache::view::{Served, View};
use crate::clock::Now;

/// The media type of the bare token.
const PLAIN: &str = "text/plain";

/// Answers with a token.
pub(super) async fn token(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    query: Result<Query<TokenQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(bad_request)?;
    let entry = api.cache.entry(&name)?;
    let min_ttl = query.min_ttl.map(Duration::from_secs);
    let wait = Duration::from_secs(query.wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT));
    let answer = entry.token(min_ttl, wait).await;
    let now = api.cache.clock().now();
    match answer {
        Ok(served) if wants_plain(&headers) => Ok(plain(&served)),
        Ok(served) => Ok(Json(response(&served, &entry.view(), now)).into_response()),
        Err(refusal) => Err(ApiError(error::refusal(&refusal, &entry.view(), now))),
    }
}

/// Tells whether the client asked for the bare token.
fn wants_plain(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(PLAIN.as_bytes()))
}

fn plain(served: &Served) -> Response {
    let token = served.tokens.access.secret().expose_secret().to_owned();
    ([(CONTENT_TYPE, PLAIN)], token).into_response()
}

fn response(served: &Served, view: &View, now: Now) -> TokenResponse {
    let tokens = &served.tokens;
    let token = tokens.access.secret().expose_secret();
    TokenResponse {
        account: view.account.name.clone(),
        access_token: token.to_owned(),
        token_type: "Bearer".to_owned(),
        scope: Some(tokens.scope.to_string()).filter(|scope| !scope.is_empty()),
        expires_at: tokens.access.expires_at.map(|at| now.wall_at(at)),
        expires_in: tokens.access.remaining(now.moment).map(|left| left.as_secs()),
        header: Header { name: "authorization".to_owned(), value: format!("Bearer {token}") },
        stale: served.stale.as_ref().map(|why| error::unavailable(why, view, now)),
    }
}
