//! What `keyfobd` and its clients agree on: where the socket is, what travels over it, and how a failure is named.
//!
//! HTTP/1.1 over a Unix socket, JSON bodies, everything under `/v1`:
//!
//! ```text
//! GET    /v1/accounts                     AccountList
//! GET    /v1/accounts/{a}/token           TokenResponse       ?min_ttl=SECONDS ?wait=SECONDS
//!                                                             ?scope= ?audience= ?resource= ?kind=access|id
//! POST   /v1/accounts/{a}/token/rejected  RejectionReport     a server refused a token: {"sha256": ..}
//! POST   /v1/accounts/{a}/login           LoginStatus         starts a login, or joins the one that is pending
//! GET    /v1/accounts/{a}/login           LoginStatus         ?after=REVISION ?wait=SECONDS (long poll)
//! DELETE /v1/accounts/{a}/login           LoginStatus         cancels
//! GET    /v1/accounts/{a}/import          ForeignSessions     ?endpoint=ENDPOINT: what other clients keep for it
//! POST   /v1/accounts/{a}/import          LoginStatus         ImportRequest: takes the latest of them over
//! DELETE /v1/accounts/{a}/session         LogoutReport        logs out: revokes (RFC 7009) and forgets
//! GET    /v1/lock                         LockStatus
//! POST   /v1/lock                         LockStatus          LockRequest: forgets all secrets, until it is unlocked
//! POST   /v1/unlock                       LockStatus          LockRequest
//! GET    /v1/audit                        AuditLog            ?limit=NUMBER ?account=: who was given which token
//! GET    /v1/confirmations                ConfirmationList    programs that wait for a person's word
//! POST   /v1/confirmations/{id}           ConfirmationReport  ConfirmationAnswer: the person's word
//! POST   /v1/reload                       ReloadReport
//! POST   /v1/stop                         204, then the daemon drains and exits
//! GET    /v1/version                      Version
//! GET    /healthz                         200 "ok\n"
//! ```
//!
//! `{a}` is an [`account::AccountName`], or [`DEFAULT_ACCOUNT`] for the one that the configuration names as default.
//! With `Accept: text/plain` the token path answers the bare access token. Every error is an [`error::ErrorBody`].
//!
//! How it may grow: readers ignore members that they do not know, every enum that travels has an `Unknown`, and
//! nothing is removed or given another meaning within `/v1`.

#![forbid(unsafe_code)]

pub mod account;
pub mod audit;
pub mod confirmation;
pub mod daemon;
pub mod error;
pub mod import;
pub mod lock;
pub mod login;
pub mod paths;
pub mod socket;
pub mod token;
pub mod user;

/// The path segment that stands for the default account. No account can have this name.
pub const DEFAULT_ACCOUNT: &str = "~";

/// The `User-Agent` of the shim. By it the daemon looks who runs the shim; it proves nothing, and it spares everybody
/// else the look.
pub const SHIM_AGENT: &str = "keyfob";
