//! The code map of keyfobd, in reading order. A module uses only modules above it; `tests/tidy.rs` holds the table.

pub mod clock;
pub mod token;

pub mod oauth;

pub mod grant;

pub mod account;

pub mod store;

pub mod cache;

pub mod api;

pub mod config;
