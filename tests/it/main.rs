//! User stories against the real binaries, one file each.

#![expect(clippy::unwrap_used, reason = "where a story fails, its test fails")]

mod admission;
mod authorization_code;
mod autostart;
mod browser;
mod browser_login;
mod command;
mod config;
mod crash;
mod credentials;
mod crowd;
mod disk;
mod dpop;
mod flyte;
mod flytekit;
mod forged_callback;
mod handover;
mod hostile_issuer;
mod import;
mod intruder;
mod issuer;
mod keyring;
mod keyring_fixture;
mod lock;
mod login;
mod lost_answer;
mod oidc_provider;
mod outage;
mod process;
mod rejection;
mod renewal;
mod restart;
mod resumption;
mod secrets;
mod session;
mod setup;
mod setup_variables;
mod share;
mod socket;
mod state_lock;
mod store;
mod target;
mod transport;
mod unit;
mod watchdog;
