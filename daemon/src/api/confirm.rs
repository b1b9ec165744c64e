//! `/v1/confirmations`: programs that wait until a person agrees to their having a token.
//!
//! It keeps a token from going out unnoticed, and is no boundary: a program of the same user could answer for the person.
//! So every answer is audited with the program that gave it.

mod questions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;
use keyfob_protocol::account::AccountName;
use keyfob_protocol::confirmation::{
    Answer, Confirmation, ConfirmationAnswer, ConfirmationList, ConfirmationReport, DEFAULT_HELD, MAX_HELD,
};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use tokio::time::timeout;

use super::Api;
use super::error::{ApiError, bad_request};
use super::peer::{Peer, Purpose};
use super::token::claim;
use crate::account::policy::Asker;
use crate::clock::{Moment, Now};
use questions::{Questions, Standing, Subject};

/// How long a program stays denied where the person says nothing else: long enough that one which asks again and again
/// does not have the person asked each time, short enough for a slip.
const DEFAULT_DENIED: Duration = Duration::from_secs(600);

/// The questions that wait, and the answers that hold, for all accounts.
#[derive(Debug, Default)]
pub struct Confirmations(Mutex<Questions>);

/// What a person is to agree to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    /// Whose token it is.
    pub(super) account: &'a AccountName,
    /// Who asks for it.
    pub(super) asker: &'a Asker,
    /// What is asked for beyond what the account says.
    pub(super) wanted: &'a str,
}

/// Why a program that has to be confirmed is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unconfirmed {
    /// A person has said no.
    Refused,
    /// Nobody has answered in time.
    Unanswered,
    /// Too many questions wait already.
    Crowded,
}

impl Confirmations {
    /// Returns once a person has agreed, before or now.
    ///
    /// # Errors
    /// Says why nobody has within `wait`.
    pub(super) async fn ask(&self, asking: Asking<'_>, now: Now, wait: Duration) -> Result<(), Unconfirmed> {
        let Asking { account, asker, wanted } = asking;
        let standing = self.questions().ask(Subject::new(account, asker), asker, wanted, now);
        let answer = match standing {
            Standing::Answered(answer) => Some(answer),
            Standing::Crowded => return Err(Unconfirmed::Crowded),
            Standing::Asked(mut coming) => {
                tracing::info!(%account, program = %asker.program, pid = asker.pid, "a program waits to be confirmed");
                let answered = timeout(wait, coming.wait_for(Option::is_some)).await;
                answered.ok().and_then(|answer| answer.ok().and_then(|answer| *answer))
            }
        };
        match answer {
            Some(Answer::Allow) => Ok(()),
            Some(Answer::Deny) => Err(Unconfirmed::Refused),
            None => Err(Unconfirmed::Unanswered),
        }
    }

    /// Forgets every answer, so that each program has to be confirmed again.
    pub fn forget(&self) {
        self.questions().forget();
    }

    /// Says, in words, that programs wait to be confirmed for an account, if some do.
    pub(super) fn warning(&self, account: &AccountName, now: Moment) -> Option<String> {
        let waits = |question: &Confirmation| question.account == *account;
        let first = self.questions().list(now).into_iter().find(waits)?;
        Some(format!("{} waits until you allow it a token; run: keyfob confirm", first.program))
    }

    /// The lock is held for the time of one look or note.
    fn questions(&self) -> MutexGuard<'_, Questions> {
        // What a panic left half-done is at worst a question that nobody waits for.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists the questions that wait.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<ConfirmationList> {
    let now = api.cache.clock().now().moment;
    Json(ConfirmationList { confirmations: api.confirmations.questions().list(now) })
}

/// Takes a person's answer.
pub(super) async fn answer(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<ConfirmationAnswer>, JsonRejection>,
) -> Result<Json<ConfirmationReport>, ApiError> {
    let Json(ConfirmationAnswer { answer, for_seconds }) = body.map_err(bad_request)?;
    let held = match (for_seconds, answer) {
        (Some(seconds), _) if seconds > MAX_HELD => {
            return Err(bad_request(format!("an answer holds for {MAX_HELD} seconds at most")));
        }
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Answer::Allow) => Duration::from_secs(DEFAULT_HELD),
        (None, Answer::Deny) => DEFAULT_DENIED,
    };
    let id: u64 = id.parse().map_err(|_| bad_request("a question has a number"))?;
    let by = peer.look(claim(&headers), Purpose::Policy).asker;
    let now = api.cache.clock().now();
    let report = api.confirmations.questions().answer(id, answer, held, now).ok_or_else(no_such_question)?;
    let Confirmation { account, program, .. } = &report.confirmation;
    tracing::info!(target: "audit", %account, program, ?answer, seconds = held.as_secs(), by = %by.program, by_pid = by.pid, "a question was answered");
    Ok(Json(report))
}

fn no_such_question() -> ApiError {
    ApiError(
        ErrorBody::new(ErrorCode::NotFound, "no such question waits any more")
            .with_hint("run: keyfob confirm --list"),
    )
}
