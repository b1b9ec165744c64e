//! One request and its answer, past the points where a fault can strike.
//!
//! The order is that of a real server: read, decide and change the books in one step, then send. A fault after the
//! books have changed is the one that costs a client its refresh token.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use serde_json::json;

use super::books::Books;
use super::connection::{Halves, hang_up};
use super::fault::{Counted, Endpoint, Fault, Faults, Point};
use super::form::Form;
use super::reply::Reply;

/// A fake issuer at work.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    pub(crate) started: Instant,
    pub(crate) books: Mutex<Books>,
    pub(crate) faults: Faults,
    token_requests: AtomicUsize,
}

/// What an endpoint does with a form that has been read.
pub(crate) type Answer = fn(&mut Books, &Form, Duration) -> Reply;

impl AuthorizationServer {
    pub(crate) fn new(started: Instant, books: Books) -> Self {
        Self {
            started,
            books: Mutex::new(books),
            faults: Faults::default(),
            token_requests: AtomicUsize::new(0),
        }
    }

    /// Does what changes the books, in one step.
    pub(crate) fn decide<T>(&self, decision: impl FnOnce(&mut Books, Duration) -> T) -> T {
        decision(&mut self.books.lock().unwrap(), self.started.elapsed())
    }

    /// Serves an endpoint that takes a form.
    pub(crate) async fn take_form(
        self: Arc<Self>,
        endpoint: Endpoint,
        request: Request,
        answer: Answer,
    ) -> Response {
        let _present = (endpoint == Endpoint::Token).then(|| self.count_token_request());
        let exchange = Exchange::begin(&self, endpoint);
        if let ControlFlow::Break(response) = exchange.early(Point::BeforeRead).await {
            return response;
        }
        let form = Form::read(request).await;
        if let ControlFlow::Break(response) = exchange.early(Point::BeforeCommit).await {
            return response;
        }
        let reply = self.decide(|books, now| match form {
            Ok(form) => answer(books, &form, now),
            Err(violation) => {
                books.ledger.violations.push(format!("{endpoint:?}: {violation}"));
                Reply::error(400, "invalid_request")
            }
        });
        exchange.send(reply).await
    }

    /// Serves a metadata document.
    pub(crate) async fn give_document(
        self: Arc<Self>,
        path: &str,
        answer: fn(&mut Books, &str) -> Reply,
    ) -> Response {
        let exchange = Exchange::begin(&self, Endpoint::Metadata);
        for point in [Point::BeforeRead, Point::BeforeCommit] {
            if let ControlFlow::Break(response) = exchange.early(point).await {
                return response;
            }
        }
        let reply = self.decide(|books, _| answer(books, path));
        exchange.send(reply).await
    }

    pub(crate) fn token_requests_under_way(&self) -> usize {
        self.token_requests.load(Ordering::SeqCst)
    }

    fn count_token_request(&self) -> Counted<'_> {
        let counted = Counted::new(&self.token_requests);
        let current = self.token_requests.load(Ordering::SeqCst);
        self.decide(|books, _| {
            let max = &mut books.ledger.max_concurrent_token_requests;
            *max = current.max(*max);
        });
        counted
    }
}

/// One exchange, and what goes wrong in it.
struct Exchange {
    server: Arc<AuthorizationServer>,
    endpoint: Endpoint,
    fault: Option<(Point, Fault)>,
}

impl Exchange {
    fn begin(server: &Arc<AuthorizationServer>, endpoint: Endpoint) -> Self {
        Self { server: Arc::clone(server), endpoint, fault: server.faults.take(endpoint) }
    }

    fn fault_at(&self, point: Point) -> Option<&Fault> {
        self.fault.as_ref().filter(|(at, _)| *at == point).map(|(_, fault)| fault)
    }

    /// Passes a point before the commit: a fault that makes up an answer, or that hangs up, ends the exchange there.
    async fn early(&self, point: Point) -> ControlFlow<Response> {
        self.server.faults.gate.pass(self.endpoint, point).await;
        let made_up = Reply::json(200, &json!({}));
        match self.fault_at(point) {
            None => ControlFlow::Continue(()),
            Some(fault @ Fault::Delay(_)) => {
                fault.strike(made_up).await;
                ControlFlow::Continue(())
            }
            Some(fault) => {
                ControlFlow::Break(fault.strike(made_up).await.map_or_else(|| hang_up(fault), respond))
            }
        }
    }

    /// Sends what the endpoint answered, past the points after the commit.
    async fn send(self, mut reply: Reply) -> Response {
        self.server.faults.gate.pass(self.endpoint, Point::BeforeReply).await;
        if let Some(fault) = self.fault_at(Point::BeforeReply) {
            match fault.strike(reply).await {
                Some(struck) => reply = struck,
                None => return hang_up(fault),
            }
        }
        let is_held = self.server.faults.gate.is_closed(self.endpoint, Point::MidBody);
        match self.fault_at(Point::MidBody).cloned() {
            None if !is_held => respond(reply),
            fault => self.respond_in_halves(reply, fault),
        }
    }

    fn respond_in_halves(self, mut reply: Reply, fault: Option<Fault>) -> Response {
        let rest = reply.body.split_off(reply.body.len() / 2);
        let length = reply.body.len() + rest.len();
        // A client learns that a body is cut short from the length that it was promised.
        let promised = match fault {
            None | Some(Fault::Delay(_) | Fault::HangUp | Fault::Reset | Fault::Garble) => Some(length),
            Some(Fault::Answer(_) | Fault::Giant) => None,
        };
        if let Some(length) = promised {
            reply = reply.with("content-length", &length.to_string());
        }
        let first = std::mem::take(&mut reply.body);
        let rest = Reply { body: rest, ..reply.clone() };
        let body = Halves::new(first, async move {
            self.server.faults.gate.pass(self.endpoint, Point::MidBody).await;
            match fault {
                None => Some(rest.body),
                Some(fault) => fault.strike(rest).await.map(|reply| reply.body),
            }
        });
        head(&reply).body(Body::new(body)).expect("the head of a reply is well-formed")
    }
}

pub(crate) fn respond(reply: Reply) -> Response {
    head(&reply).body(Body::from(reply.body)).expect("the head of a reply is well-formed")
}

fn head(reply: &Reply) -> axum::http::response::Builder {
    reply
        .headers
        .iter()
        .fold(Response::builder().status(reply.status), |head, (name, value)| head.header(*name, value))
}
