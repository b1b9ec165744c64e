//! An answer of a fake issuer, before it is sent and perhaps damaged.

use serde_json::{Value, json};

/// An answer: status, headers, body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, apart from those about the body's length.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns an answer in JSON that must not be cached (RFC 6749 §5.1).
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string()).with("cache-control", "no-store")
    }

    /// Returns an error answer (RFC 6749 §5.2).
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(
            status,
            &json!({ "error": code, "error_description": format!("the fake issuer says {code}") }),
        )
    }

    /// Returns a page.
    pub fn html(status: u16, text: &str) -> Self {
        Self::new(status, "text/html; charset=utf-8", format!("<!doctype html><p>{text}</p>\n"))
    }

    /// Returns an answer with a body of any type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Returns the error code that this answer carries, or `ok`.
    pub(crate) fn outcome(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or("ok").to_owned()
    }

    /// Adds a member of this size to a JSON object.
    pub(crate) fn padded(mut self, size: usize) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["padding"] = "x".repeat(size).into();
        self.body = body.to_string().into();
        self
    }

    /// Damages every byte of the body.
    pub(crate) fn garbled(mut self) -> Self {
        for byte in &mut self.body {
            *byte ^= 0xa5;
        }
        self
    }
}
