//! Connections of a fake issuer, which can end without an answer or in the middle of one.
//!
//! axum alone always answers. So its router is served by hyper directly: a service that fails makes hyper close the
//! connection, and a body that fails makes it close in the middle of the body.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::fault::Fault;
use crate::certificate::Identity;

/// What an issuer with TLS shows to whoever connects.
pub(crate) type Shown = Arc<Mutex<Identity>>;

/// Whether there is anybody at an issuer's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Up,
    Down,
}

/// Serves connections for ever. While it is down, the port is closed, and every connection has ended.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    mut presence: watch::Receiver<Presence>,
) -> io::Result<Infallible> {
    let address = listener.local_addr()?;
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    loop {
        tokio::select! {
            ended = serve_while_up(listener, router.clone()) => return ended,
            down = presence.wait_for(|presence| *presence == Presence::Down) => drop(down.map_err(gone)?),
        }
        drop(presence.wait_for(|presence| *presence == Presence::Up).await.map_err(gone)?);
        listener = TcpListener::bind(address).await?;
    }
}

/// Serves connections until this is dropped, and they with it.
async fn serve_while_up(listener: TcpListener, router: Router) -> io::Result<Infallible> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        // Those that have ended make room.
        while connections.try_join_next().is_some() {}
        let router = router.clone();
        connections.spawn(async move {
            // The same socket once more: it is closed last, when all that was said about it counts.
            let socket = stream.as_fd().try_clone_to_owned().expect("a descriptor for a connection");
            let end = serve_one(stream, router).await;
            if end == End::Reset {
                set_socket_linger(&socket, Some(Duration::ZERO)).expect("a socket can be told not to linger");
            }
        });
    }
}

/// Serves connections with TLS for ever, with what is shown at the time.
pub(crate) async fn serve_tls(listener: TcpListener, router: Router, shown: Shown) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = TlsAcceptor::from(shown.lock().unwrap_or_else(PoisonError::into_inner).config());
        let router = router.clone();
        tokio::spawn(async move {
            // A client that does not like what it is shown goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_one(stream, router).await;
            }
        });
    }
}

async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) -> End {
    let router = TowerToHyperService::new(router);
    let end = Mutex::new(End::Quiet);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let answer = router.call(request);
        async {
            let response = answer.await.unwrap_or_else(|never| match never {});
            match response.extensions().get::<End>() {
                Some(asked) => {
                    *end.lock().unwrap() = *asked;
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted))
                }
                None => Ok(response),
            }
        }
    });
    // A connection that fails is what a fault asks for, or the business of the client at its other end.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    *end.lock().unwrap()
}

/// How a connection ends. On a response it is the mark that this must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As TCP has it.
    Quiet,
    /// With a reset.
    Reset,
}

/// Returns what ends the connection without a byte, as a fault has it.
pub(crate) fn hang_up(fault: &Fault) -> Response {
    let end = match fault {
        Fault::Reset => End::Reset,
        Fault::Delay(_) | Fault::Answer(_) | Fault::HangUp | Fault::Giant | Fault::Garble => End::Quiet,
    };
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(end);
    response
}

/// The second half of a body, or none where the connection ends instead.
type Rest = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// A body in two halves, with something between them.
pub(crate) struct Halves {
    first: Option<Vec<u8>>,
    rest: Option<Rest>,
}

impl Halves {
    pub(crate) fn new(first: Vec<u8>, rest: impl Future<Output = Option<Vec<u8>>> + Send + 'static) -> Self {
        let rest = async {
            // hyper sends what it has only when the body has nothing for it.
            tokio::task::yield_now().await;
            rest.await
        };
        Self { first: Some(first), rest: Some(Box::pin(rest)) }
    }
}

impl hyper::body::Body for Halves {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = |bytes: Vec<u8>| Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        if let Some(first) = self.first.take() {
            return frame(first);
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        match rest.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.rest = None;
                match outcome {
                    Some(bytes) => frame(bytes),
                    None => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
                }
            }
        }
    }
}
