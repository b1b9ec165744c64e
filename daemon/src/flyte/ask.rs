//! The ways to ask a Flyte endpoint how to log in, in their order, and what is said when none of them works.
//!
//! gRPC first, since every endpoint of version 1 has it; then Connect, which is version 2; then the HTTP gateway of
//! version 1, for endpoints of which a proxy lets nothing else through. The thing to get wrong: all three are the same
//! host under the same policy, so whatever fails leads on to the next, and nobody who can make one way fail gains by it.
//! Two things end it: a host that no HTTP request reaches, and settings that cannot be used. gRPC's word alone does not:
//! a host that has no HTTP/2 is not there for it.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::Now;
use crate::flyte::message::Said;
use crate::flyte::{Endpoint, connect, gateway, grpc};
use crate::oauth::connector::Connector;
use crate::oauth::error::{Kind, Sent};
use crate::oauth::http::Http;
use crate::oauth::transport::{Transport, Unusable};
use crate::token::failure::Failure;

/// How long a way may take: a connection, which has five seconds, and two small questions.
const LONGEST: Duration = Duration::from_secs(6);

/// Asks one endpoint.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) endpoint: Endpoint,
    pub(super) http: Http,
    pub(super) connector: Result<Connector, Unusable>,
}

/// A way to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Grpc,
    Connect,
    Gateway,
}

impl Way {
    const IN_ORDER: [Self; 3] = [Self::Grpc, Self::Connect, Self::Gateway];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "gRPC",
            Self::Connect => "Connect",
            Self::Gateway => "HTTP",
        })
    }
}

/// Why a way brought nothing: a few words for a sentence, and what they come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) words: String,
    pub(super) nature: Nature,
}

/// What a miss comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// There is no such service.
    Absent,
    /// There is a page for people.
    Page,
    /// There was no connection.
    Unreachable,
    /// The settings cannot be used.
    Unusable,
    /// It is in trouble, or something between is; it may ask us to wait so long.
    Trouble(Option<Duration>),
}

impl Miss {
    /// Says what an HTTP request came to.
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Transport { sent: Sent::No, cause } => Self { words: cause, nature: Nature::Unreachable },
            Kind::Transport { sent: Sent::Maybe, cause } => Self::trouble(cause),
            Kind::Unusable { reason } => Self { words: reason, nature: Nature::Unusable },
            Kind::Redirect { target, .. } => Self::trouble(format!("a redirect to {target}")),
            Kind::Html { .. } => Self { words: "an HTML page".to_owned(), nature: Nature::Page },
            Kind::Status { status, retry_after } => {
                let words = format!("status {}", status.as_u16());
                let is_absent = matches!(status.as_u16(), 404 | 405 | 410 | 415 | 501);
                let nature = if is_absent { Nature::Absent } else { Nature::Trouble(retry_after) };
                Self { words, nature }
            }
            Kind::OAuth { status, retry_after, .. } => {
                Self { words: format!("status {}", status.as_u16()), nature: Nature::Trouble(retry_after) }
            }
            Kind::Malformed { reason } => Self::trouble(reason),
            Kind::KeyBound { .. } => Self::trouble(kind.to_string()),
        }
    }

    /// Says what went wrong, for however long.
    pub(super) fn trouble(words: String) -> Self {
        Self { words, nature: Nature::Trouble(None) }
    }
}

impl Asker {
    /// Prepares to ask an endpoint under a policy. `http` is of the same one.
    pub(super) fn new(endpoint: Endpoint, http: Http, transport: &Transport) -> Self {
        Self { endpoint, http, connector: Connector::new(transport) }
    }

    /// Asks, by one way after another.
    pub(super) async fn ask(&self, now: Now) -> Result<Said, Failure> {
        let mut misses = Vec::new();
        for way in Way::IN_ORDER {
            let late = || Miss::trouble(format!("not within {LONGEST:?}"));
            let miss = match timeout(LONGEST, self.by(way, now)).await.unwrap_or_else(|_| Err(late())) {
                Ok(said) => return Ok(said),
                Err(miss) => miss,
            };
            tracing::debug!(endpoint = %self.endpoint, %way, words = miss.words, "says nothing");
            let is_last = match (way, miss.nature) {
                (_, Nature::Unusable) | (Way::Connect | Way::Gateway, Nature::Unreachable) => true,
                (Way::Grpc, Nature::Unreachable)
                | (_, Nature::Absent | Nature::Page | Nature::Trouble(_)) => false,
            };
            misses.push((way, miss));
            if is_last {
                break;
            }
        }
        Err(self.verdict(&misses))
    }

    async fn by(&self, way: Way, now: Now) -> Result<Said, Miss> {
        match way {
            Way::Grpc => {
                let connector = self.connector.as_ref();
                let connector = connector
                    .map_err(|unusable| Miss { words: unusable.to_string(), nature: Nature::Unusable })?;
                grpc::ask(connector, &self.endpoint).await
            }
            Way::Connect => connect::ask(&self.http, &self.endpoint, now).await,
            Way::Gateway => gateway::ask(&self.http, &self.endpoint, now).await,
        }
    }

    /// Says what all ways together come to, and what to check.
    fn verdict(&self, misses: &[(Way, Miss)]) -> Failure {
        let host = self.endpoint.host();
        if let Some((_, last)) = misses.last() {
            match last.nature {
                Nature::Unusable => {
                    return Failure::misconfigured(format!("{host} is not asked: {}", last.words));
                }
                Nature::Unreachable => {
                    return Failure::transient(format!("{host} could not be reached: {}", last.words));
                }
                Nature::Absent | Nature::Page | Nature::Trouble(_) => {}
            }
        }
        let told: Vec<_> =
            misses.iter().map(|(way, miss)| format!("{way}: {}", brief(&miss.words))).collect();
        let told = format!("{host} does not say how to log in ({})", told.join("; "));
        let natures = || misses.iter().map(|(_, miss)| miss.nature);
        if natures().any(|nature| nature == Nature::Page) {
            return Failure::transient(format!(
                "{told}: it may be a console's address, or a proxy is in the way: check flyte"
            ));
        }
        // For gRPC alone, "no connection" is another word for "no HTTP/2".
        if natures().all(|nature| matches!(nature, Nature::Absent | Nature::Unreachable)) {
            return Failure::misconfigured(format!(
                "{told}: check that flyte has the Flyte API's host and port"
            ));
        }
        let retry_after = natures().filter_map(|nature| match nature {
            Nature::Trouble(wait) => wait,
            Nature::Absent | Nature::Page | Nature::Unreachable | Nature::Unusable => None,
        });
        let retry_after = retry_after.max();
        Failure::Transient { message: format!("{told}: if it stays so, check flyte").into(), retry_after }
    }
}

/// The longest part of a sentence that has three of them.
const BRIEF: usize = 50;

fn brief(words: &str) -> String {
    words.chars().take(BRIEF).collect()
}

#[cfg(test)]
mod tests;
