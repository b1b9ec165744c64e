//! The code map of keyfobd, in reading order. A module uses only modules above it; `tests/tidy.rs` holds the table.
//!
//! Data flows from the configuration to the accounts, from a grant to the tokens of an account, and from its owner
//! task to the API. Read [`token::state`] first: it says what the daemon promises. Then [`cache`], which keeps it.

// Where a test can let the daemon die: nothing without the feature `failpoints`.
pub mod failpoint;

// Memory that is locked and wiped.
pub mod secret;

// The only reader of clocks.
pub mod clock;

// Tokens, what they were granted for, and what is decided about them: pure functions of `now`.
pub mod token;

// The OAuth2 wire protocol: one request in, one typed answer out.
pub mod oauth;

// What a Flyte endpoint says about how to log in there, and what its clients keep.
pub mod flyte;

// The ways to obtain tokens, a file each, behind one trait.
pub mod grant;

// An account is settings; the registry finds it by its name.
pub mod account;

// Tokens at rest, sealed under one key.
pub mod store;

// The accounts that run: a task owns each.
pub mod cache;

// The API over the Unix socket.
pub mod api;

// TOML to accounts, with every mistake at once.
pub mod config;

// What fuzz targets reach: nothing without `--cfg fuzzing`.
#[cfg(fuzzing)]
pub mod fuzzing;
