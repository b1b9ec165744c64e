//! The server: takes connections from the socket, gives each a task of its own, and lets none cost the others anything.
//!
//! The thing to get wrong: what is accepted costs a descriptor, and renewals need some too. So at the limit nothing is
//! accepted, and who comes waits in the socket's backlog, where it costs us nothing.

mod admission;
mod pace;
mod provenance;
mod request;

use std::collections::HashMap;
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
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api::peer::known::Known;
use crate::api::peer::{Credentials, Peer};
use crate::api::serve::admission::{Admission, Crowded};
use crate::api::serve::pace::{Paced, TICK, Turn};
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
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // They go on for one tick after the last guest has left: who comes right after that costs no other timer. In an empty hall
    // there are none.
    let mut is_ticking = false;
    loop {
        hall.api.is_full.store(!hall.admission.has_room(), Ordering::Relaxed);
        tokio::select! {
            // Who has left makes room before anybody comes in.
            biased;
            () = &mut stop => break,
            Some(ended) = hall.tasks.join_next_with_id() => hall.see_off(ended),
            _ = ticks.tick(), if is_ticking => {
                is_ticking = !hall.admission.is_empty();
                hall.tick();
            }
            accepted = socket.accept(), if hall.admission.has_room() => {
                if !is_ticking {
                    is_ticking = true;
                    ticks.reset();
                }
                match accepted {
                    Ok((stream, from)) => hall.welcome(stream, from).await,
                    Err(error) => hall.lament(error).await,
                }
            }
        }
    }
    socket.retire();
    drop(socket);
    hall.empty(ticks).await;
}

/// Everybody who is connected, and what it takes to let somebody in.
struct Hall {
    api: Arc<Api>,
    router: Router,
    clock: Clock,
    admission: Admission,
    known: Known,
    tasks: JoinSet<()>,
    guests: HashMap<Id, Guest>,
    /// Tells the connections that the daemon stops.
    closing: watch::Sender<()>,
    complaints: Throttle,
    strangers: Throttle,
}

/// A connection that counts.
struct Guest {
    pid: Option<i32>,
    turn: Arc<Turn>,
    task: AbortHandle,
}

impl Hall {
    fn new(api: Arc<Api>) -> Self {
        Self {
            clock: api.cache.clock().clone(),
            router: router(Arc::clone(&api)),
            api,
            admission: Admission::new(descriptors()),
            known: Known::default(),
            tasks: JoinSet::new(),
            guests: HashMap::new(),
            closing: watch::Sender::new(()),
            complaints: Throttle::new(COMPLAINTS),
            strangers: Throttle::new(STRANGERS),
        }
    }

    async fn welcome(&mut self, stream: Stream, from: Credentials) {
        let peer = self.known.peer(&stream, from, self.admission.known());
        let pid = peer.pid;
        let mut entered = self.admission.enter(pid);
        if entered.is_err() {
            // A program that hung up a moment ago, and comes back, has no more connections than before: let them end.
            tokio::task::yield_now().await;
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.see_off(ended);
            }
            entered = self.admission.enter(pid);
        }
        match entered {
            Ok(()) => {
                let turn = Turn::new();
                let visit =
                    converse(stream, peer, Arc::clone(&turn), self.router.clone(), self.closing.subscribe());
                let task = self.tasks.spawn(visit);
                self.guests.insert(task.id(), Guest { pid, turn, task });
            }
            Err(Crowded) => turn_away(&stream),
        }
    }

    /// Counts a connection no more, however its task has ended.
    fn see_off(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        if let Some(guest) = self.guests.remove(&id) {
            self.admission.leave(guest.pid);
        }
    }

    /// Takes a tick off each client's time, and cuts off whose time is over. What programs run is looked at anew.
    fn tick(&mut self) {
        self.known.forget();
        for guest in self.guests.values().filter(|guest| guest.turn.is_over()) {
            tracing::debug!(pid = guest.pid, "a client did not keep pace");
            guest.task.abort();
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

    /// Lets everybody out: who waits for the rest of an answer gets it, if they keep pace.
    async fn empty(mut self, mut ticks: Interval) {
        self.closing.send_replace(());
        while !self.tasks.is_empty() {
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.see_off(ended),
                _ = ticks.tick() => self.tick(),
            }
        }
    }
}

/// Answers on a connection that is the only one, until either side has enough.
#[cfg(fuzzing)]
pub(crate) async fn converse_alone<S: AsyncRead + AsyncWrite + Unpin>(stream: S, peer: Peer, router: Router) {
    let turn = Turn::new();
    // Nobody stops the daemon.
    let (_stop, stopping) = watch::channel(());
    let mut visit = pin!(converse(stream, peer, Arc::clone(&turn), router, stopping));
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            () = &mut visit => return,
            _ = ticks.tick() => if turn.is_over() { return },
        }
    }
}

/// Answers on one connection, until either side has enough.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    turn: Arc<Turn>,
    router: Router,
    mut closing: watch::Receiver<()>,
) {
    let pid = peer.pid;
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
