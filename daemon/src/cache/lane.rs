//! The tokens for one target, and the clients that wait for them: what the owner keeps once for the account's own
//! target, and once for each other target that clients ask for.
//!
//! An attempt is shared: its outcome, and its error, goes to everybody who waits, each by what they need.

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::cache::entry::Asked;
use crate::cache::owner::answer;
use crate::cache::view::{Refusal, Served, conclusion};
use crate::clock::{Moment, Now};
use crate::token::failure::Failure;
use crate::token::need::Need;
use crate::token::schedule::Jitter;
use crate::token::state::{Answer, TokenState};

/// Clients that wait for one target at most: ten times the burst that we are built for. Each is a few hundred bytes.
const MAX_WAITING: usize = 10_000;

/// Where a client's answer goes.
pub(super) type Reply = oneshot::Sender<Result<Served, Refusal>>;

/// The tokens for one target, and who waits for them.
pub(super) struct Lane {
    /// What is held and how its renewal goes.
    pub(super) state: TokenState,
    /// When a renewal failed last, if no success has followed.
    pub(super) failed_at: Option<Timestamp>,
    waiting: Vec<(Need, Reply)>,
}

impl Lane {
    pub(super) fn new(state: TokenState) -> Self {
        Self { state, failed_at: None, waiting: Vec::new() }
    }

    /// Puts a client among those who wait, if there is room.
    pub(super) fn admit(&mut self, need: Need, reply: Reply) {
        if self.waiting.len() >= MAX_WAITING {
            // Those who hung up make room.
            self.waiting.retain(|(_, reply)| !reply.is_closed());
        }
        if self.waiting.len() >= MAX_WAITING {
            return answer(reply, Err(Refusal::Crowded));
        }
        self.waiting.push((need, reply));
    }

    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tells everybody who waits how it stands.
    pub(super) fn settle(&mut self, now: Moment) {
        for (need, reply) in std::mem::take(&mut self.waiting) {
            answer(reply, settled(&self.state, need, now));
        }
    }

    /// Tells everybody who waits why there is no other token than the one in force.
    pub(super) fn refuse(&mut self, objection: &Refusal, now: Moment) {
        for (need, reply) in std::mem::take(&mut self.waiting) {
            answer(reply, self.instead(objection, need, now));
        }
    }

    /// Returns what a client gets for whom there is no other token than the one in force, for this reason.
    pub(super) fn instead(&self, objection: &Refusal, need: Need, now: Moment) -> Result<Served, Refusal> {
        match (settled(&self.state, need, now), objection) {
            (Ok(Served { tokens, stale }), Refusal::Unavailable(why)) => {
                Ok(Served { tokens, stale: stale.map(|_| why.clone()) })
            }
            (_, objection) => Err(objection.clone()),
        }
    }

    /// Decides about a client: one whose token a server refused is not given that again where another can be had.
    pub(super) fn decide(&self, asked: &Asked, now: Moment) -> Answer {
        let decision = self.state.answer(now, asked.need);
        if let Answer::Serve(tokens) = &decision
            && asked.is_about(tokens)
        {
            if self.state.is_in_flight() {
                return Answer::Wait;
            }
            if self.state.can_start(now) {
                return Answer::Renew;
            }
        }
        decision
    }

    /// Returns those who wait, who are the caller's business from here on.
    pub(super) fn take_waiting(&mut self) -> Vec<(Need, Reply)> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes in how an attempt failed.
    pub(super) fn fail(&mut self, failure: Failure, now: Now, jitter: Jitter) {
        self.failed_at = Some(now.wall);
        self.state.fail(failure, now.moment, jitter);
    }
}

/// Returns what a client gets where another attempt is out of the question.
fn settled(state: &TokenState, need: Need, now: Moment) -> Result<Served, Refusal> {
    conclusion(match state.answer(now, need) {
        Answer::Serve(tokens) => Answer::Serve(tokens),
        Answer::ServeStale(..) | Answer::Renew | Answer::Wait | Answer::Fail(_) => {
            state.settled(now, need.kind)
        }
    })
}
