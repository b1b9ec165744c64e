//! A fake issuer: a real authorization server on loopback, strict by default, which can be told to fail.
//!
//! It runs on a thread of its own, so that blocking tests can use it. Its [`Ledger`] is the judge of every story: what
//! a daemon says about itself is never proof.

mod authorization;
mod books;
mod client_assertion;
mod client_auth;
mod connection;
mod device;
pub mod dpop;
mod exchange;
pub mod fault;
mod form;
pub mod ledger;
mod metadata;
pub mod mix;
pub mod reply;
mod revocation;
pub mod settings;
mod token;

use std::future::pending;
use std::net::TcpListener as Listener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use tokio::sync::watch;

use books::Books;
use connection::{Presence, Shown};
use exchange::AuthorizationServer;
use fault::{Endpoint, Fault, Point};
use ledger::Ledger;
use mix::Mix;
use reply::Reply;
use settings::Settings;

use crate::certificate::Identity;
use crate::patience;
use crate::server::{Server, listen, taken_over};

/// A fake issuer. It is gone, with every connection, when this is dropped.
#[derive(Debug)]
pub struct FakeIssuer {
    url: String,
    /// Where people reach it, who do not look at certificates.
    plain: String,
    shown: Option<Shown>,
    server: Arc<AuthorizationServer>,
    // It goes first: while it serves, somebody must be able to say whether it is up.
    _serving: Server,
    presence: watch::Sender<Presence>,
}

impl FakeIssuer {
    /// Starts an issuer on a free port.
    pub fn start(settings: Settings) -> Self {
        let (plain, address) = listen();
        let url = format!("http://{address}");
        Self::serve(settings, url, plain, None)
    }

    /// Starts an issuer with TLS, under this name on a free port. Its page for people is on another port without TLS.
    pub fn start_with_tls(settings: Settings, host: &str, identity: Identity) -> Self {
        let (plain, _) = listen();
        let (secure, address) = listen();
        let url = format!("https://{host}:{}", address.port());
        Self::serve(settings, url, plain, Some((secure, Arc::new(Mutex::new(identity)))))
    }

    fn serve(settings: Settings, url: String, plain: Listener, secure: Option<(Listener, Shown)>) -> Self {
        let plain_url = format!("http://{}", plain.local_addr().expect("a bound listener has an address"));
        let shown = secure.as_ref().map(|(_, shown)| Arc::clone(shown));
        let server = Arc::new(AuthorizationServer::new(patience::now(), Books::new(url.clone(), settings)));
        let router = router(Arc::clone(&server));
        let presence = watch::Sender::new(Presence::Up);
        let present = presence.subscribe();
        let serving = Server::run(async move || {
            let behind_tls = async {
                match secure {
                    Some((listener, shown)) => {
                        connection::serve_tls(taken_over(listener), router.clone(), shown).await
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                ended = connection::serve(taken_over(plain), router.clone(), present) => panic!("the fake issuer ended: {ended:?}"),
                ended = behind_tls => panic!("the fake issuer ended: {ended:?}"),
            }
        });
        Self { url, plain: plain_url, shown, server, _serving: serving, presence }
    }

    /// Closes its port, with every connection, until [`Self::come_back`]. A port with TLS stays open.
    pub fn go_down(&self) {
        self.presence.send_replace(Presence::Down);
    }

    /// Opens its port again.
    pub fn come_back(&self) {
        self.presence.send_replace(Presence::Up);
    }

    /// Returns the URL of its page for people.
    pub fn page(&self) -> String {
        format!("{}/device", self.plain)
    }

    /// Shows another certificate to whoever connects from now on.
    ///
    /// # Panics
    /// Panics where the issuer has no TLS.
    pub fn show(&self, identity: Identity) {
        let shown = self.shown.as_ref().expect("an issuer with TLS");
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Returns its issuer identifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a copy of what has happened so far.
    pub fn ledger(&self) -> Ledger {
        self.ask(|ledger, _| ledger.clone())
    }

    /// Looks something up in what has happened so far, and at the time by which that is told. In a run of hours this is
    /// cheaper than a copy.
    pub fn ask<T>(&self, question: impl FnOnce(&Ledger, Duration) -> T) -> T {
        self.server.decide(|books, now| question(&books.ledger, now))
    }

    /// Changes how it behaves from now on.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        self.server.decide(|books, _| change(&mut books.settings));
    }

    /// Tells whether a resource server that trusts this issuer would take an access token now.
    pub fn honours(&self, access_token: &str) -> bool {
        self.server.decide(|books, now| {
            let mut known = books.ledger.access_tokens.iter().rev();
            known.any(|known| known.token == access_token && !known.revoked && now < known.expires)
        })
    }

    /// Takes back an access token, so that servers refuse it although it has not expired.
    pub fn take_back(&self, access_token: &str) {
        self.server.decide(|books, _| {
            let known = books.ledger.access_tokens.iter_mut();
            for token in known.filter(|known| known.token == access_token) {
                token.revoked = true;
            }
        });
    }

    /// Ends every login, as an administrator can.
    pub fn end_all_logins(&self) {
        self.server.decide(|books, _| {
            for family in 0..books.ledger.families.len() {
                books.ledger.end_family(family);
            }
        });
    }

    /// Answers the next polls for a device code with `slow_down`.
    pub fn slow_down(&self, polls: usize) {
        self.server.decide(|books, _| books.slow_downs = polls);
    }

    /// Lets something go wrong in the next exchanges at an endpoint.
    pub fn break_next(&self, times: usize, endpoint: Endpoint, point: Point, fault: Fault) {
        self.server.faults.plan_next(times, endpoint, point, fault);
    }

    /// Lets something go wrong in every exchange at an endpoint until [`Self::mend`].
    pub fn break_every(&self, endpoint: Endpoint, point: Point, fault: Fault) {
        self.server.faults.plan_standing(endpoint, point, fault);
    }

    /// Lets something go wrong in a share of the exchanges at an endpoint, until [`Self::mend`].
    pub fn break_some(&self, endpoint: Endpoint, mix: Mix) {
        self.server.faults.plan_mix(endpoint, mix);
    }

    /// Lets nothing go wrong any more.
    pub fn mend(&self) {
        self.server.faults.clear();
    }

    /// Returns how many token requests are under way.
    pub fn token_requests_under_way(&self) -> usize {
        self.server.token_requests_under_way()
    }

    /// Holds every exchange at an endpoint when it comes to this point, until [`Self::release`].
    pub fn hold(&self, endpoint: Endpoint, point: Point) {
        self.server.faults.gate.close(endpoint, point);
    }

    /// Returns how many exchanges are being held.
    pub fn held(&self) -> usize {
        self.server.faults.gate.waiting()
    }

    /// Lets the held exchanges go on.
    pub fn release(&self) {
        self.server.faults.gate.open();
    }
}

/// The form endpoints take any method: what is wrong about a request belongs into the ledger.
fn router(server: Arc<AuthorizationServer>) -> Router {
    type Server = State<Arc<AuthorizationServer>>;
    Router::new()
        .route(
            "/token",
            any(async |State(server): Server, request: Request| {
                server.take_form(Endpoint::Token, request, token::answer).await
            }),
        )
        .route(
            "/device_authorization",
            any(async |State(server): Server, request: Request| {
                server.take_form(Endpoint::DeviceAuthorization, request, device::authorize).await
            }),
        )
        .route(
            "/revoke",
            any(async |State(server): Server, request: Request| {
                server.take_form(Endpoint::Revocation, request, revocation::answer).await
            }),
        )
        .route("/authorize", get(authorize))
        .route("/device", get(show_page).post(take_decision))
        .route(metadata::OAUTH_PATH, get(give_metadata))
        .route(metadata::OPENID_PATH, get(give_metadata))
        .with_state(server)
}

async fn give_metadata(State(server): State<Arc<AuthorizationServer>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    server.give_document(&path, metadata::answer).await
}

async fn authorize(State(server): State<Arc<AuthorizationServer>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    exchange::respond(server.decide(|books, _| authorization::answer(books, query)))
}

async fn show_page(request: Request) -> Response {
    exchange::respond(device::page(request.uri().query().unwrap_or_default()))
}

async fn take_decision(State(server): State<Arc<AuthorizationServer>>, request: Request) -> Response {
    exchange::respond(match form::Form::read(request).await {
        Ok(form) => server.decide(|books, now| device::decide(books, &form, now)),
        Err(violation) => Reply::html(400, &violation),
    })
}
