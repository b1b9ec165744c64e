//! What is particular to Flyte: what its clients keep, and where.

pub mod keyring;
