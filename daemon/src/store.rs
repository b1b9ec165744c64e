//! Tokens at rest: one sealed file per account, under one key.
//!
//! The store knows nothing of where tokens come from. Its calls block (disk, D-Bus) and belong on a blocking thread.
