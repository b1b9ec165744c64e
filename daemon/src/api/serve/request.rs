//! One request: looked at, read to its end, then handed to the API.
//!
//! The thing to get wrong: to hand over a body that still arrives. A handler would wait for it, and would have to be right
//! about its size and its time in each place.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper::body::{Body as _, Incoming};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use tokio::time::timeout;

use crate::api;
use crate::api::error::ApiError;
use crate::api::peer::Peer;
use crate::api::serve::provenance;

/// The longest body: the longest that we are sent is a pasted redirect of some kilobytes.
const MAX_BODY: usize = 64 * 1024;

/// How long a body may take to arrive: it comes from a program on this machine.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Answers a request. One that is not what it should be ends its connection: what follows it may be anything.
pub(super) async fn answer(
    asked: hyper::Request<Incoming>,
    peer: Peer,
    router: Router,
) -> Result<Response, Infallible> {
    let (mut head, body) = asked.into_parts();
    if let Some(fault) = provenance::fault(&head) {
        return Ok(refused(ApiError(fault)));
    }
    let body = match whole(body).await {
        Ok(body) => body,
        Err(response) => return Ok(refused(response)),
    };
    head.extensions.insert(ConnectInfo(peer));
    Ok(api::answer(router, Request::from_parts(head, body)).await)
}

/// Reads a body to its end.
async fn whole(body: Incoming) -> Result<Body, (StatusCode, Json<ErrorBody>)> {
    if body.is_end_stream() {
        return Ok(Body::empty());
    }
    let wrong = |status, why| (status, Json(ErrorBody::new(ErrorCode::BadRequest, why)));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(wrong(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB"));
    }
    match timeout(BODY_PATIENCE, to_bytes(Body::new(body), MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(Body::from(bytes)),
        // It is cut short: its client has gone, or the limit was passed.
        Ok(Err(_)) => Err(wrong(StatusCode::BAD_REQUEST, "the body did not arrive")),
        Err(_) => Err(wrong(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

fn refused(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
