//! Connections of a fake issuer, which can end without an answer or in the middle of one.
//!
//! axum alone always answers. So its router is served by hyper directly: a service that fails makes hyper close the
//! connection, and a body that fails makes it close in the middle of the body.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Identity;

/// What an issuer with TLS shows to whoever connects.
pub(crate) type Shown = Arc<Mutex<Identity>>;

/// Serves connections for ever.
pub(crate) async fn serve(listener: TcpListener, router: Router) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_one(stream, router.clone()));
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

async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let answer = router.call(request);
        async {
            match answer.await {
                Ok(response) if response.extensions().get::<HangUp>().is_some() => {
                    Err(io::Error::from(io::ErrorKind::ConnectionAborted))
                }
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }
        }
    });
    // A connection that fails is what a fault asks for, or the business of the client at its other end.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// The mark of a response that must not be sent.
#[derive(Clone, Copy, Debug)]
struct HangUp;

/// Returns what closes the connection without a byte.
pub(crate) fn hang_up() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(HangUp);
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
