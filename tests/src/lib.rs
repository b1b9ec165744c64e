//! The harness of the user stories: the real daemon, the real shim, a person, and an issuer that can be told to fail.
//!
//! Nothing in here touches the user's own files: every story has a home of its own, and the programs in it get an
//! environment of their own.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test harness: where it fails, the test fails")]

pub mod browser;
pub mod callers;
pub mod canary;
pub mod certificate;
pub mod chromium;
pub mod companion;
pub mod config;
pub mod crash;
pub mod daemon;
pub mod disk;
pub mod flyte2_backend;
pub mod flyte_admin;
pub mod flytekit;
pub mod full_disk;
pub mod home;
pub mod http;
pub mod issuer;
pub mod keyring;
pub mod memory;
pub mod oidc_provider;
pub mod patience;
pub mod person;
pub mod plain_user;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod raw_server;
pub mod relay;
pub mod resource_server;
mod server;
pub mod service_manager;
pub mod shim;
pub mod signing_key;
pub mod user_manager;
pub mod vitals;
