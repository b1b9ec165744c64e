//! The sessions that other clients keep: taken over, or told of because they shadow the command.
//!
//! The daemon does the work: it alone reads keyrings and holds tokens. The thing to get wrong: whatever becomes of it,
//! the setup is made, so a failure here is a remark, and the login is still to be done.

use std::time::Duration;

use keyfob_protocol::account::{AccountList, AccountName, AccountState, GrantKind};
use keyfob_protocol::import::{Donors, ForeignClient, ForeignSession, ForeignSessions, ImportRequest};
use keyfob_protocol::login::{LoginState, LoginStatus, MAX_POLL_WAIT};

use crate::client::Client;
use crate::clock::{Deadline, pause};
use crate::connection::{self, Method, Request};
use crate::display;
use crate::failure::Failure;
use crate::setup::endpoint::Endpoint;

/// How long a look into the keyrings may take: the daemon gives it ten seconds.
const LOOK: Duration = Duration::from_secs(15);

/// How long taking over may take: a look, discovery, and an exchange with the issuer.
const TAKE_OVER: Duration = Duration::from_secs(75);

/// What is told where no daemon is there to look.
const NOT_LOOKED: &str = "keyfobd does not run, so nobody looked for a session that flytectl keeps and uses first; \
                          with keyfobd running this command looks, and --import takes the session over";

/// How often a daemon is asked that does not wait as it was asked to.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes over a session, has the others' copies of it deleted, and tells of other sessions, which stay.
pub(crate) fn take_over(
    client: &Client,
    account: &AccountName,
    endpoint: &Endpoint,
) -> Result<Vec<String>, Failure> {
    // Asked before: afterwards the daemon may not have deleted them yet.
    let found = look(client, account, endpoint).unwrap_or_default();
    let others = found.sessions.into_iter().filter(|session| session.is_renewable && !session.is_next);
    let others = ForeignSessions { sessions: others.collect(), is_locked: false };
    exchange(client, account, endpoint).map(|()| remarks(&others))
}

fn exchange(client: &Client, account: &AccountName, endpoint: &Endpoint) -> Result<(), Failure> {
    let deadline = Deadline::after(TAKE_OVER);
    let request = ImportRequest { endpoint: endpoint.to_string(), donors: Donors::Delete };
    let body = serde_json::to_string(&request).expect("a struct of two texts is JSON");
    let path = format!("/v1/accounts/{account}");
    let request = Request::new(Method::Post, format!("{path}/import")).with(body);
    let mut status: LoginStatus = client.ask_for(&request, deadline)?;
    while deadline.left().is_some() {
        match status.login {
            LoginState::SignedIn => return Ok(()),
            LoginState::Failed { error } => return Err(Failure::said(error)),
            LoginState::Starting | LoginState::Asking { .. } | LoginState::Exchanging => {}
            LoginState::Idle | LoginState::Cancelled | LoginState::Unknown => break,
        }
        let poll = format!("{path}/login?after={}&wait={MAX_POLL_WAIT}", status.revision);
        let next: LoginStatus = client.ask_for(&Request::new(Method::Get, poll), deadline)?;
        if next.revision == status.revision {
            pause(PAUSE);
        }
        status = next;
    }
    Err(Failure::NotTakenOver)
}

/// Tells whether a person is signed in with keyfob, as far as a running daemon knows.
pub(crate) fn is_signed_in(running: &Client, account: &AccountName) -> bool {
    let request = Request::new(Method::Get, "/v1/accounts".to_owned());
    let list: Result<AccountList, Failure> = running.ask_for(&request, Deadline::after(LOOK));
    let accounts = list.map(|list| list.accounts).unwrap_or_default();
    accounts.iter().filter(|status| status.name == *account).any(|status| {
        matches!(status.grant, GrantKind::AuthorizationCode | GrantKind::DeviceCode)
            && status.state == AccountState::SignedIn
    })
}

/// Tells of sessions that the clients would use in place of the command.
pub(crate) fn shadows(running: &Client, account: &AccountName, endpoint: &Endpoint) -> Vec<String> {
    // A warning that cannot be had is no reason to fail.
    match look(running, account, endpoint) {
        Ok(found) => remarks(&found),
        Err(Failure::Unreachable { error: connection::Error::Absent, .. }) => vec![NOT_LOOKED.to_owned()],
        Err(_) => Vec::new(),
    }
}

fn look(client: &Client, account: &AccountName, endpoint: &Endpoint) -> Result<ForeignSessions, Failure> {
    let query = endpoint.to_string().replace('[', "%5B").replace(']', "%5D");
    let request = Request::new(Method::Get, format!("/v1/accounts/{account}/import?endpoint={query}"));
    client.ask_for(&request, Deadline::after(LOOK))
}

fn remarks(found: &ForeignSessions) -> Vec<String> {
    let mut remarks: Vec<String> = found.sessions.iter().filter_map(shadow).collect();
    if found.is_locked {
        remarks.push("a keyring is locked, and may hold a session of flytectl that it uses first".to_owned());
    }
    if found.sessions.iter().any(|session| session.is_renewable) {
        remarks.push(
            "to take such a session over, and delete it there, run: keyfob setup flyte --import".to_owned(),
        );
    }
    remarks
}

fn shadow(session: &ForeignSession) -> Option<String> {
    let place = display::text(&session.place);
    match session.client {
        ForeignClient::Flytectl => {
            Some(format!("flytectl has a session in {place}, and uses its token first while that is valid"))
        }
        ForeignClient::Flyte => {
            Some(format!("flyte has a session in {place}, and would use it first without disableKeyring"))
        }
        // It looks there only when it signs in by itself.
        ForeignClient::Flytekit => Some(format!("flytekit has a session in {place}")),
        ForeignClient::Unknown => None,
    }
}
