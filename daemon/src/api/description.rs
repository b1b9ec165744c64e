//! `GET /v1/openapi.json`: the API in the words of OpenAPI, for whoever writes a client, and for tools that test one.
//!
//! It is written by hand. The thing to get wrong is to change a path or a type and not the document, so the tests below
//! hold it against the router and against what the types of the protocol are as JSON.

use axum::http::header::{CONTENT_TYPE, HeaderName};

/// The document.
const DESCRIPTION: &str = include_str!("openapi.json");

/// Describes the API.
pub(super) async fn description() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION)
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
