//! A Flyte endpoint for tests, over plain TCP: it answers gRPC by hand, and HTTP/1.1 as it is told.
//!
//! It tells the two apart by the first bytes of a connection, as a proxy that lets both through does.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};

use crate::flyte::message::Said;
use crate::flyte::{Endpoint, Plaintext};

/// What a path answers: a status, a content type, a body; gRPC's errors are in `grpc-status`.
#[derive(Clone, Debug)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u16>,
    pub(crate) body: Vec<u8>,
}

/// A running endpoint. It ends with its runtime.
pub(crate) struct ScriptedFlyte {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    paths: BTreeMap<String, Canned>,
    asked: Vec<String>,
}

impl ScriptedFlyte {
    /// Starts one that has nothing.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("the listener is open");
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    /// Returns its address.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("127.0.0.1:{}", self.port), Plaintext::Wanted).expect("an address")
    }

    /// Has a path answer so.
    pub(crate) fn set(&self, path: &str, canned: Canned) {
        self.state.lock().expect("no holder panics").paths.insert(path.to_owned(), canned);
    }

    /// Takes everything away.
    pub(crate) fn clear(&self) {
        self.state.lock().expect("no holder panics").paths.clear();
    }

    /// Has the service of version 1 say this over gRPC.
    pub(crate) fn say_by_grpc(&self, said: &Said) {
        let service = "/flyteidl.service.AuthMetadataService";
        self.set(&format!("{service}/GetOAuth2Metadata"), Canned::grpc(&said.metadata));
        self.set(&format!("{service}/GetPublicClientConfig"), Canned::grpc(&said.client));
    }

    /// Has the service of version 2 say this over Connect.
    pub(crate) fn say_by_connect(&self, said: &Said) {
        let service = "/flyteidl2.auth.AuthMetadataService";
        self.set(&format!("{service}/GetOAuth2Metadata"), Canned::json(200, &camel(&said.metadata)));
        self.set(&format!("{service}/GetPublicClientConfig"), Canned::json(200, &camel(&said.client)));
    }

    /// Has the gateway say this.
    pub(crate) fn say_by_gateway(&self, said: &Said) {
        let text = |value| serde_json::to_string(value).expect("texts");
        self.set(
            "/.well-known/oauth-authorization-server",
            Canned::json(200, &serde_json::to_string(&said.metadata).expect("texts")),
        );
        self.set("/config/v1/flyte_client", Canned::json(200, &text(&said.client)));
    }

    /// Returns the paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("no holder panics").asked.clone()
    }
}

impl Canned {
    pub(crate) fn grpc(message: &impl Message) -> Self {
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        Self { status: 200, grpc_status: Some(0), body: [&[0], &length[..], &message].concat() }
    }

    pub(crate) fn grpc_error(code: u16) -> Self {
        Self { status: 200, grpc_status: Some(code), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self { status, grpc_status: None, body: body.as_bytes().to_vec() }
    }
}

/// Writes a message as protobuf does: names in camelCase.
fn camel(message: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(message).expect("texts");
    let renamed = value.as_object().expect("an object").iter().map(|(name, value)| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        let name = parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..]);
        (name, value.clone())
    });
    serde_json::Value::Object(renamed.collect()).to_string()
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut start = [0; 3];
    while stream.peek(&mut start).await.is_ok_and(|length| length > 0 && length < start.len()) {}
    let answers = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &state);
        async { Ok::<_, Infallible>(answer) }
    });
    let io = TokioIo::new(stream);
    // A client that leaves is part of some tests.
    if &start == b"PRI" {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(io, answers).await);
    } else {
        drop(http1::Builder::new().serve_connection(io, answers).await);
    }
}

fn answer(request: &Request<Incoming>, state: &Mutex<State>) -> Response<Body> {
    let mut state = state.lock().expect("no holder panics");
    let path = request.uri().path().to_owned();
    let canned = state.paths.get(&path).cloned().unwrap_or(Canned::json(404, ""));
    state.asked.push(path);
    let mut response = Response::builder().status(canned.status);
    let Some(code) = canned.grpc_status else {
        return response.body(Body::from(canned.body)).expect("a response");
    };
    response = response.header("content-type", "application/grpc");
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), code.into())]);
    let frames = [Frame::data(canned.body.into()), Frame::trailers(trailers)];
    response.body(Body::new(Frames(frames.into_iter().collect()))).expect("a response")
}

/// A body with trailers.
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
