//! `keyfob logout`: has the daemon forget an account's tokens and take them back at the issuer.
//!
//! The thing to get wrong: tokens that the issuer could not revoke live on there, and the user must be told so.

use std::time::Duration;

use keyfob_protocol::daemon::{LogoutReport, Revocation};

use crate::arguments::Account;
use crate::client::Client;
use crate::clock::Deadline;
use crate::connection::{Method, Request};
use crate::display;
use crate::failure::Failure;

/// How long a logout may take: the daemon gives each of two revocations 15 seconds at most.
const PATIENCE: Duration = Duration::from_secs(40);

/// Logs out, and returns what became of the tokens.
pub(crate) fn log_out(account: &Account, client: &Client) -> Result<String, Failure> {
    let request = Request::new(Method::Delete, format!("/v1/accounts/{}/session", account.segment()));
    let report: LogoutReport = client.ask_for(&request, Deadline::after(PATIENCE))?;
    Ok(words(&report))
}

fn words(report: &LogoutReport) -> String {
    let account = &report.account;
    let reason =
        report.reason.as_deref().map_or_else(String::new, |reason| format!(" ({})", display::text(reason)));
    match report.revocation {
        Revocation::Revoked => format!("signed out of {account}; the issuer revoked the tokens\n"),
        Revocation::Unsupported => {
            format!(
                "signed out of {account}; the issuer cannot revoke tokens, so they are good until they expire\n"
            )
        }
        Revocation::Failed => format!(
            "signed out of {account}, but the issuer did not revoke the tokens{reason}: they may be good until they \
             expire\n"
        ),
        Revocation::NothingHeld => format!("signed out of {account}; there were no tokens\n"),
        Revocation::Unknown => format!("signed out of {account}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_live_on_at_the_issuer_are_named() {
        let report = LogoutReport {
            account: "prod".parse().unwrap(),
            revocation: Revocation::Failed,
            reason: Some("connection\nrefused".to_owned()),
        };
        let expected = "signed out of prod, but the issuer did not revoke the tokens (connection refused): they may be \
                        good until they expire\n";
        assert_eq!(words(&report), expected);
    }
}
