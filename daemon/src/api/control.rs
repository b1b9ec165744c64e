//! `/healthz`, `/v1/version`, `/v1/reload`, `/v1/stop`: the daemon as a whole.
//!
//! What a reload or a stop does is the business of `main`, which knows the configuration; here it is only asked for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use keyfob_protocol::daemon::{ReloadReport, Version};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::Api;
use super::error::ApiError;

/// Orders that wait to be carried out: more than a person gives, few enough to carry out.
pub const MAX_ORDERS: usize = 16;

/// What the daemon can be told to do.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<ReloadReport, ErrorBody>>),
    /// Finish what is under way, then exit.
    Stop,
}

/// The way to tell the daemon what to do.
#[derive(Debug)]
pub struct Control {
    /// Takes the orders.
    pub orders: mpsc::Sender<Order>,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// Says that requests are answered.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says which daemon this is.
pub(super) async fn version(State(api): State<Arc<Api>>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: api.control.started_at,
    })
}

/// Reads the configuration again. Where it has a mistake, the old one stays in force.
pub(super) async fn reload(State(api): State<Arc<Api>>) -> Result<Json<ReloadReport>, ApiError> {
    let (reply, answer) = oneshot::channel();
    api.control.orders.send(Order::Reload(reply)).await.map_err(|_| stopping())?;
    let report = answer.await.map_err(|_| stopping())?;
    report.map(Json).map_err(ApiError)
}

/// Lets the daemon finish what is under way, then exit.
pub(super) async fn stop(State(api): State<Arc<Api>>) -> Result<StatusCode, ApiError> {
    api.control.orders.send(Order::Stop).await.map_err(|_| stopping())?;
    Ok(StatusCode::NO_CONTENT)
}

fn stopping() -> ApiError {
    ApiError(ErrorBody::new(ErrorCode::ShuttingDown, "the daemon is about to exit").with_hint("try again"))
}
