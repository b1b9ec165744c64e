//! The server: takes connections from the socket, gives each a task of its own, and lets none cost the others anything.
//!
//! The thing to get wrong: what is accepted costs a descriptor, and renewals need some too. So at the limit nothing is
//! accepted, and who comes waits in the socket's backlog, where it costs us nothing.

mod admission;
mod pace;
mod provenance;
mod request;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use interprocess::os::unix::uds_local_socket::tokio::Stream;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use crate::api::peer::Peer;
use crate::api::serve::admission::{Admission, Crowded, MAX_CONNECTIONS};
use crate::api::serve::pace::{Paced, Turn};
use crate::api::socket::{AcceptError, OwnSocket};
use crate::api::throttle::Throttle;
use crate::api::{Api, router};
use crate::clock::Clock;

/// The longest head of a request: ours have some 200 bytes, and curl's with a long cookie jar a few thousand.
const MAX_HEAD: usize = 16 * 1024;

/// The pause after a connection that could not be accepted: descriptors are missing, and somebody has to give one back.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the log says that connections cannot be accepted, and that other users try.
const COMPLAINTS: Duration = Duration::from_secs(1);
const STRANGERS: Duration = Duration::from_secs(60);

/// Serves until `stop` ends, then lets every answer that is under way go out. The socket's name is gone as soon as `stop`
/// has ended.
pub async fn run(mut socket: OwnSocket, api: Arc<Api>, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut hall = Hall::new(api);
    loop {
        hall.api.is_full.store(!hall.admission.has_room(), Ordering::Relaxed);
        tokio::select! {
            () = &mut stop => break,
            Some(peer) = hall.departures.recv() => hall.admission.leave(peer),
            accepted = socket.accept(), if hall.admission.has_room() => match accepted {
                Ok((stream, peer)) => hall.welcome(stream, peer),
                Err(error) => hall.lament(error).await,
            },
        }
    }
    socket.retire();
    drop(socket);
    hall.empty().await;
}

/// Everybody who is connected, and what it takes to let somebody in.
struct Hall {
    api: Arc<Api>,
    router: Router,
    clock: Clock,
    admission: Admission,
    /// Given to each connection, which says on its end whose it was.
    exit: mpsc::Sender<Option<i32>>,
    departures: mpsc::Receiver<Option<i32>>,
    /// Tells the connections that the daemon stops.
    closing: watch::Sender<()>,
    complaints: Throttle,
    strangers: Throttle,
}

impl Hall {
    fn new(api: Arc<Api>) -> Self {
        // As many as there can be connections, so that none has to wait with its farewell.
        let (exit, departures) = mpsc::channel(MAX_CONNECTIONS);
        Self {
            clock: api.cache.clock().clone(),
            router: router(Arc::clone(&api)),
            api,
            admission: Admission::new(descriptors()),
            exit,
            departures,
            closing: watch::Sender::new(()),
            complaints: Throttle::new(COMPLAINTS),
            strangers: Throttle::new(STRANGERS),
        }
    }

    fn welcome(&mut self, stream: Stream, peer: Peer) {
        match self.admission.enter(peer.pid) {
            Ok(()) => {
                let visit = Visit { peer: peer.pid, exit: self.exit.clone() };
                tokio::spawn(attend(stream, peer, self.router.clone(), self.closing.subscribe(), visit));
            }
            Err(Crowded) => turn_away(&stream),
        }
    }

    /// Copes with a connection that there is not. A lack of descriptors passes, and is no reason to turn in circles.
    async fn lament(&mut self, error: AcceptError) {
        let now = self.clock.now().moment;
        match error {
            AcceptError::Stranger { uid } => {
                if let Some(unsaid) = self.strangers.admits(now) {
                    tracing::warn!(?uid, unsaid, "refused a connection from another user");
                }
            }
            AcceptError::Io(error) => {
                if let Some(unsaid) = self.complaints.admits(now) {
                    tracing::warn!(%error, unsaid, "cannot accept a connection");
                }
                // The limit may be another one by now.
                self.admission.adapt(descriptors());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Lets everybody out: who waits for the rest of an answer gets it.
    async fn empty(self) {
        let Self { mut departures, mut admission, closing, .. } = self;
        drop(closing);
        while !admission.is_empty() {
            let Some(peer) = departures.recv().await else { return };
            admission.leave(peer);
        }
    }
}

/// A connection that counts. However its task ends, it counts no more afterwards.
struct Visit {
    peer: Option<i32>,
    exit: mpsc::Sender<Option<i32>>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        // There is room for all who can be there at once.
        if let Err(error) = self.exit.try_send(self.peer) {
            tracing::debug!(%error, "a connection outlived the server");
        }
    }
}

/// Answers on a connection that counts.
async fn attend(stream: Stream, peer: Peer, router: Router, closing: watch::Receiver<()>, _visit: Visit) {
    converse(stream, peer, router, closing).await;
}

/// Answers on one connection, until either side has enough.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    router: Router,
    mut closing: watch::Receiver<()>,
) {
    let (turn, pid) = (Arc::new(Turn::default()), peer.pid);
    let io = TokioIo::new(Paced::new(stream, Arc::clone(&turn)));
    let answer = service_fn(move |asked| {
        let ours = Turn::begin(&turn);
        let (router, peer) = (router.clone(), peer.clone());
        async move {
            let answered = request::answer(asked, peer, router).await;
            drop(ours);
            answered
        }
    });
    let server = http1::Builder::new().max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD).to_owned();
    let mut connection = pin!(server.serve_connection(io, answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // It says nothing of what was sent.
        tracing::debug!(pid, %error, "a connection ended early");
    }
}

/// Says to a program that has too many connections that this one is not served.
///
/// It is said as far as it can be without waiting: who does not read it sees that the connection is closed.
fn turn_away(stream: &Stream) {
    let body = ErrorBody::new(ErrorCode::Unavailable, "this program has too many connections to keyfobd")
        .with_hint("close some, or use one for several requests");
    let status = body.error.status();
    let body = serde_json::to_string(&body).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let sent = rustix::net::send(stream, answer.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    if let Err(errno) = sent
        && errno != Errno::PIPE
    {
        tracing::debug!(error = %io::Error::from(errno), "could not say why a connection is not served");
    }
}

/// Returns how many descriptors this process may have; nothing where there is no limit.
fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
