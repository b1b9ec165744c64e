//! The endpoints of a server, remembered.
//!
//! The thing to get wrong: a renewal must go on while the host of the metadata is down, so what is known stays in force
//! until something newer is read.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::{Moment, Now};
use crate::oauth::http::Http;
use crate::oauth::metadata::{self, Error, Metadata};
use crate::oauth::{Endpoints, Server};

/// How long metadata count as fresh where they do not say: endpoints move by the year, and people who move them wait no
/// longer than this.
const FRESH: Duration = Duration::from_secs(3600);

/// However short they say that they are good for, they are asked for no more often than this: a renewal should not
/// wait for them.
const SHORTEST_FRESH: Duration = Duration::from_secs(300);

/// However long they say that they are good for, somebody may move an endpoint tomorrow.
const LONGEST_FRESH: Duration = Duration::from_secs(24 * 3600);

/// After a failure, how long the known metadata are used without asking again: an outage of the metadata's host must
/// not slow down each renewal.
const STALE: Duration = Duration::from_secs(300);

/// Finds the endpoints of one server.
#[derive(Debug)]
pub(crate) struct Discovery {
    server: Server,
    http: Http,
    /// Held while asking, so that concurrent callers share one answer.
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    endpoints: Endpoints,
    ask_again_at: Moment,
}

impl Discovery {
    /// Remembers nothing yet.
    pub(crate) fn new(server: Server, http: Http) -> Self {
        Self { server, http, known: Mutex::new(None) }
    }

    /// Returns the endpoints.
    pub(crate) async fn endpoints(&self, now: Now) -> Result<Endpoints, Error> {
        let (issuer, loopback) = match &self.server {
            Server::Given(endpoints) => return Ok(endpoints.clone()),
            Server::Discovered { issuer, loopback } => (issuer, *loopback),
        };
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| now.moment < known.ask_again_at) {
            return Ok(known.endpoints.clone());
        }
        match (metadata::fetch(&self.http, issuer, loopback, now).await, known.as_mut()) {
            (Ok(Metadata { endpoints, max_age }), _) => {
                let fresh = max_age.map_or(FRESH, |age| age.clamp(SHORTEST_FRESH, LONGEST_FRESH));
                *known = Some(Known { endpoints: endpoints.clone(), ask_again_at: now.moment.after(fresh) });
                Ok(endpoints)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(%issuer, %error, "using the metadata that are known");
                known.ask_again_at = now.moment.after(STALE);
                Ok(known.endpoints.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::oauth::scripted_server::{ScriptedServer, answer, json};
    use crate::oauth::{EndpointUrl, LoopbackHttp};

    fn discovery(server: &ScriptedServer) -> Discovery {
        let server = Server::Discovered { issuer: server.issuer(), loopback: LoopbackHttp::Allowed };
        Discovery::new(server, Http::new().unwrap())
    }

    fn document(server: &ScriptedServer, token: &str) -> Vec<u8> {
        json(200, &format!(r#"{{"issuer":"{}","token_endpoint":"{token}"}}"#, server.issuer()))
    }

    fn after(now: Now, seconds: u64) -> Now {
        Now { moment: now.moment.after(Duration::from_secs(seconds)), ..now }
    }

    #[tokio::test]
    async fn given_endpoints_are_not_asked_for() {
        let token = EndpointUrl::parse("https://a/t", LoopbackHttp::Refused).unwrap();
        let given = Endpoints::at(token);
        let discovery = Discovery::new(Server::Given(given.clone()), Http::new().unwrap());
        assert_eq!(discovery.endpoints(Clock::system().now()).await.unwrap(), given);
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_request() {
        let server = ScriptedServer::answering([json(404, "")]).await;
        server.then([document(&server, "https://a/t")]);
        let (discovery, now) = (discovery(&server), Clock::system().now());
        let (one, other) = tokio::join!(discovery.endpoints(now), discovery.endpoints(now));
        assert_eq!(one.unwrap(), other.unwrap());
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn metadata_are_asked_for_again_when_they_are_old() {
        let server = ScriptedServer::answering([json(404, "")]).await;
        server.then([document(&server, "https://a/old"), document(&server, "https://a/new")]);
        let (discovery, now) = (discovery(&server), Clock::system().now());
        for (seconds, expected) in [(0, "https://a/old"), (3599, "https://a/old"), (3600, "https://a/new")] {
            let endpoints = discovery.endpoints(after(now, seconds)).await.unwrap();
            assert_eq!(endpoints.token.to_string(), expected, "after {seconds} s");
        }
    }

    #[tokio::test]
    async fn metadata_are_good_for_as_long_as_they_say_within_bounds_8414_7() {
        for (header, fresh) in [
            ("", 3600),
            ("Cache-Control: max-age=7200\r\n", 7200),
            ("Cache-Control: no-store\r\n", 300),
            ("Cache-Control: max-age=1\r\n", 300),
            ("Cache-Control: max-age=31536000\r\n", 86_400),
        ] {
            let server = ScriptedServer::answering([json(404, "")]).await;
            let body = format!(r#"{{"issuer":"{}","token_endpoint":"https://a/t"}}"#, server.issuer());
            server.then([answer(200, header, &body)]);
            let (discovery, now) = (discovery(&server), Clock::system().now());
            for (seconds, requests) in [(0, 1), (fresh - 1, 1), (fresh, 2)] {
                discovery.endpoints(after(now, seconds)).await.unwrap();
                assert_eq!(server.requests().len(), requests, "{header} after {seconds} s");
            }
        }
    }

    #[tokio::test]
    async fn known_metadata_stay_in_force_while_their_host_is_down_8414_7() {
        let server = ScriptedServer::answering([json(404, "")]).await;
        server.then([document(&server, "https://a/t"), json(503, "")]);
        let (discovery, now) = (discovery(&server), Clock::system().now());
        discovery.endpoints(now).await.unwrap();
        for (hours, requests) in [(1, 2), (1, 2), (8, 3), (8, 3), (1000, 4)] {
            let endpoints = discovery.endpoints(after(now, hours * 3600)).await.unwrap();
            assert_eq!(endpoints.token.to_string(), "https://a/t");
            assert_eq!(server.requests().len(), requests, "after {hours} h");
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let server = ScriptedServer::answering([json(503, "")]).await;
        let (discovery, now) = (discovery(&server), Clock::system().now());
        assert!(discovery.endpoints(now).await.is_err());
        server.then([document(&server, "https://a/t")]);
        assert!(discovery.endpoints(now).await.is_ok());
    }
}
