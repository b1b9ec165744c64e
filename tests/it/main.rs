//! User stories against the real binaries, one file each.

#![expect(clippy::unwrap_used, reason = "where a story fails, its test fails")]

mod issuer;
