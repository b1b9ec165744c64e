//! `GET /v1/accounts/{a}/token`: the question that all of this is for.

mod query;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use axum::response::{IntoResponse, Response};
use keyfob_protocol::SHIM_AGENT;
use keyfob_protocol::token::{
    DEFAULT_WAIT, Header, MAX_WAIT, RejectedToken, RejectionOutcome, RejectionReport, TokenKind as Kind,
    TokenQuery, TokenResponse,
};
use secrecy::ExposeSecret;

use super::Api;
use super::error::{self, ApiError, bad_request};
use super::peer::{Claim, Peer, Purpose, Seen};
use super::policy::Case;
use crate::cache::entry::{Asked, Entry, Told};
use crate::cache::view::{Refusal, Served, View};
use crate::clock::Now;
use crate::token::TokenHash;
use crate::token::need::{Need, TokenKind};
use crate::token::state::Unavailable;

/// The media type of the bare token.
const PLAIN: &str = "text/plain";

/// The header that carries a token where the account's server wants no other.
const AUTHORIZATION: &str = "authorization";

/// Answers with a token.
pub(super) async fn token(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let query = query::read(query.as_deref().unwrap_or_default()).map_err(bad_request)?;
    let entry = api.cache.entry(&name)?;
    let wait = Duration::from_secs(query.wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT));
    let asked = asked(query, &entry);
    let kind = asked.need.kind;
    let account = entry.account();
    let purpose = if account.policy.minds_who_asks() { Purpose::Policy } else { Purpose::Audit };
    let Seen { asker, consumer } = peer.look(claim(&headers), purpose);
    let case = Case { api: &api, account, peer: &peer, asker, asked: &asked };
    let wait = case.admit(wait).await?;
    let answer = entry.token(asked.clone(), consumer, wait).await;
    let (view, now) = (entry.view(), api.cache.clock().now());
    let refused = |refusal: Refusal| ApiError(error::token(&refusal, &asked.wanted, &view, now));
    let served = answer.map_err(refused)?;
    // It may have waited for a person or for a renewal: what a reload has said meanwhile counts.
    let latest = api.cache.entry(&name)?;
    if !Arc::ptr_eq(&latest, &entry) || latest.account().policy != case.account.policy {
        return Err(ApiError(error::changed()));
    }
    case.accept(&served)?;
    let (token, hash) = exposed(&served, kind).map_err(refused)?;
    case.issued(&served, hash);
    Ok(if wants_plain(&headers) {
        ([(CONTENT_TYPE, PLAIN)], token).into_response()
    } else {
        Json(response(&served, kind, token, &view, now)).into_response()
    })
}

/// Tells for whom the client says that it asks.
pub(super) fn claim(headers: &HeaderMap) -> Claim {
    let is_shim = headers.get(USER_AGENT).is_some_and(|agent| agent == SHIM_AGENT);
    if is_shim { Claim::TokenCommand } else { Claim::Program }
}

/// Takes in that a server refused a token, and renews it if it is the one in force.
pub(super) async fn rejected(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    body: Result<Json<RejectedToken>, JsonRejection>,
) -> Result<Json<RejectionReport>, ApiError> {
    let query = query::read(query.as_deref().unwrap_or_default()).map_err(bad_request)?;
    let body = body.ok().and_then(|Json(body)| TokenHash::from_hex(&body.sha256));
    let token = body
        .ok_or_else(|| bad_request("the body must be {\"sha256\": ..}: the token's hash in hexadecimal"))?;
    let entry = api.cache.entry(&name)?;
    let wait = Duration::from_secs(query.wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT));
    let asked = asked(query, &entry);
    let told = entry.rejected(asked.clone(), token, wait).await;
    let (view, now) = (entry.view(), api.cache.clock().now());
    let told = told.map_err(|refusal| ApiError(error::token(&refusal, &asked.wanted, &view, now)))?;
    let (outcome, reason) = match told {
        Told::Superseded => (RejectionOutcome::Superseded, None),
        Told::Renewed => (RejectionOutcome::Renewed, None),
        Told::Futile => (RejectionOutcome::Unchanged, entry.warning()),
        Told::Unchanged(why) => {
            (RejectionOutcome::Unchanged, why.map(|why| error::unavailable(&why, &view, now).message))
        }
    };
    Ok(Json(RejectionReport { account: view.account.name.clone(), outcome, reason }))
}

fn asked(query: TokenQuery, entry: &Entry) -> Asked {
    let scope = Some(query.scope).filter(|scope| !scope.is_empty()).map(|scope| scope.into_iter().collect());
    let kind = match query.kind {
        Kind::Access | Kind::Unknown => TokenKind::Access,
        Kind::Id => TokenKind::Id,
    };
    Asked {
        wanted: entry.wanted(scope, query.audience, query.resource.into_iter().collect()),
        need: Need { kind, min_ttl: query.min_ttl.map(Duration::from_secs) },
        refused: None,
    }
}

/// Tells whether the client asked for the bare token.
fn wants_plain(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(PLAIN.as_bytes()))
}

/// Returns the token and its hash. It is the one place where a token leaves its wrapping.
fn exposed(served: &Served, kind: TokenKind) -> Result<(String, TokenHash), Refusal> {
    let there = served.tokens.token(kind).zip(served.tokens.hash(kind));
    let (token, hash) = there.ok_or(Refusal::Unavailable(Unavailable::NoIdToken))?;
    Ok((token.expose_secret().to_owned(), hash))
}

fn response(served: &Served, kind: TokenKind, token: String, view: &View, now: Now) -> TokenResponse {
    let tokens = &served.tokens;
    let (name, kind, expires_at) = match kind {
        TokenKind::Access => (tokens.header.as_deref(), Kind::Access, tokens.access.expires_at),
        // Another header is what the server of the access tokens wants.
        TokenKind::Id => (None, Kind::Id, tokens.id.as_ref().and_then(|id| id.expires_at)),
    };
    let header = Header { name: name.unwrap_or(AUTHORIZATION).to_owned(), value: format!("Bearer {token}") };
    TokenResponse {
        account: view.account.name.clone(),
        access_token: token,
        kind,
        token_type: "Bearer".to_owned(),
        scope: Some(tokens.scope.to_string()).filter(|scope| !scope.is_empty()),
        expires_at: expires_at.map(|at| now.wall_at(at)),
        expires_in: expires_at.map(|at| at.since(now.moment).as_secs()),
        header,
        stale: served.stale.as_ref().map(|why| error::unavailable(why, view, now)),
    }
}
