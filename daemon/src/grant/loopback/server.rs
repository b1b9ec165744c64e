//! The server behind the port: it takes connections, reads their requests, and closes the port.
//!
//! The thing to get wrong: anybody may connect, say nothing, or say it a byte a minute. So whoever has not said what
//! they want makes room for the next, and a browser, which says it at once, is always heard.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::grant::loopback::door::{Door, Reply};
use crate::grant::loopback::pages::{Page, Pages};
use crate::grant::loopback::request::{Asked, Place};
use crate::grant::loopback::socket_table::{Caller, SocketTable};

/// Connections at once: a browser opens two or three, and a hundred idle ones cost next to nothing.
const MAX_VISITS: usize = 64;

/// How long a request's head may take: a browser sends it at once, also through a slow tunnel.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// The longest head. Codes of a few kilobytes exist, and cookies of everything else that was ever on this host.
const MAX_HEAD: usize = 64 * 1024;

/// Header lines: browsers send some twenty.
const MAX_HEADERS: usize = 100;

/// How long the port stays after the login for a browser that brought the callback and is on its way to the outcome.
const LINGER: Duration = Duration::from_secs(2);

/// How long a browser may take to read the last page.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a failed accept is tried again: the usual cause is a lack of descriptors, which takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where visitors are received.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) place: Place,
    pub(super) pages: Pages,
}

/// A visitor's request, for the one who answers.
struct Knock {
    wish: Wish,
    reply: oneshot::Sender<Reply>,
}

/// What a visitor wants of the one who answers.
enum Wish {
    /// To be told whether a callback is worth a look at whose it is.
    Judgement(SecretString),
    /// To hear a callback of our own user's.
    Hearing(SecretString),
    /// To be told how the login ended.
    Outcome,
}

/// A connection.
struct Visit {
    task: AbortHandle,
    /// Whether its request has been read.
    is_read: Arc<AtomicBool>,
}

struct Server<T> {
    sockets: Vec<TcpListener>,
    site: Arc<Site>,
    door: Door<T>,
    knocks: (mpsc::Sender<Knock>, mpsc::Receiver<Knock>),
    tasks: JoinSet<()>,
    visits: VecDeque<Visit>,
}

/// Serves until the login is concluded or given up, shows how it ended, and closes the port.
pub(super) async fn run<T: Send + 'static>(
    sockets: Vec<TcpListener>,
    site: Site,
    door: Door<T>,
    mut concluded: oneshot::Receiver<Page>,
) {
    let knocks = mpsc::channel(MAX_VISITS);
    let (tasks, visits) = (JoinSet::new(), VecDeque::new());
    let mut server = Server { sockets, site: Arc::new(site), door, knocks, tasks, visits };
    let page = loop {
        tokio::select! {
            biased;
            concluded = &mut concluded => break concluded.unwrap_or(Page::Cancelled),
            () = server.step() => {}
        }
    };
    server.door.conclude(page);
    server.linger().await;
    server.close().await;
}

impl<T: Send + 'static> Server<T> {
    /// Does the next thing that there is to do.
    async fn step(&mut self) {
        tokio::select! {
            accepted = accept(&self.sockets) => self.admit(accepted).await,
            Some(knock) = self.knocks.1.recv() => self.answer(knock),
            Some(_) = self.tasks.join_next() => self.visits.retain(|visit| !visit.task.is_finished()),
        }
    }

    async fn admit(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, theirs) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a browser's connection");
                return tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        if self.visits.len() >= MAX_VISITS {
            let silent = self.visits.iter().position(|visit| !visit.is_read.load(Ordering::Relaxed));
            match silent.and_then(|at| self.visits.remove(at)) {
                Some(oldest) => oldest.task.abort(),
                None => return,
            }
        }
        let is_read = Arc::new(AtomicBool::new(false));
        let visitor = Visitor {
            theirs,
            site: Arc::clone(&self.site),
            knocks: self.knocks.0.clone(),
            is_read: Arc::clone(&is_read),
        };
        let task = self.tasks.spawn(visitor.receive(stream));
        self.visits.push_back(Visit { task, is_read });
    }

    fn answer(&mut self, Knock { wish, reply }: Knock) {
        match wish {
            // A visitor who has left needs no answer.
            Wish::Judgement(query) => reply.send(self.door.judge(&query)).unwrap_or_default(),
            Wish::Hearing(query) => reply.send(self.door.callback(&query)).unwrap_or_default(),
            Wish::Outcome => self.door.outcome(reply),
        }
    }

    /// Keeps the port for a browser that has not been told yet.
    async fn linger(&mut self) {
        let told = async {
            while self.door.owes_the_outcome() {
                self.step().await;
            }
        };
        if tokio::time::timeout(LINGER, told).await.is_err() {
            tracing::debug!("the browser did not come for the outcome of its login");
        }
    }

    /// Closes the port, and then the connections as soon as they have what they were told.
    async fn close(mut self) {
        self.sockets.clear();
        for visit in self.visits.iter().filter(|visit| !visit.is_read.load(Ordering::Relaxed)) {
            visit.task.abort();
        }
        let gone = async {
            while !self.tasks.is_empty() {
                self.step().await;
            }
        };
        if tokio::time::timeout(FLUSH, gone).await.is_err() {
            tracing::debug!("a browser did not read the outcome of its login");
        }
    }
}

/// Waits for a connection to one of several sockets; without a socket for ever.
async fn accept(sockets: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        sockets.iter().map(|socket| socket.poll_accept(context)).find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Visitor {
    theirs: SocketAddr,
    site: Arc<Site>,
    knocks: mpsc::Sender<Knock>,
    is_read: Arc<AtomicBool>,
}

impl Visitor {
    /// Reads one request and answers it.
    async fn receive(self, stream: TcpStream) {
        let Ok(ours) = stream.local_addr() else { return };
        let service = service_fn(|request: Request<Incoming>| {
            self.is_read.store(true, Ordering::Relaxed);
            let visitor = self.clone();
            async move { Ok::<_, Infallible>(visitor.respond(request, ours).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a connection to the callback's port came to nothing");
        }
    }

    async fn respond(self, request: Request<Incoming>, ours: SocketAddr) -> Response<Body> {
        let reply = match self.site.place.read(&request.into_parts().0) {
            Asked::Nothing(why) => {
                tracing::debug!(why, "a request to the callback's port asked for nothing that there is");
                Some(Reply::Page(Page::NotFound))
            }
            Asked::Callback(query) => self.callback(query, ours).await,
            Asked::Outcome => self.knock(Wish::Outcome).await,
        };
        match reply {
            Some(Reply::WaitElsewhere) => self.site.place.wait_elsewhere(),
            Some(Reply::Page(page)) => self.site.pages.response(page).await,
            // Whoever answers has gone in between.
            Some(Reply::GoAhead) | None => Page::Cancelled.response(),
        }
    }

    /// Brings a callback. Whose it is takes a walk through all the sockets of the machine, so that is looked at last: else
    /// a web page that knocks on and on would keep a whole core busy.
    async fn callback(&self, query: SecretString, ours: SocketAddr) -> Option<Reply> {
        let judged = self.knock(Wish::Judgement(query.clone())).await;
        if judged != Some(Reply::GoAhead) {
            return judged;
        }
        if !is_own(ours, self.theirs).await {
            tracing::warn!("another user's program sent a callback: it was not heard");
            return Some(Reply::Page(Page::NotFound));
        }
        self.knock(Wish::Hearing(query)).await
    }

    /// Asks the one who answers; nothing where nobody does any more.
    async fn knock(&self, wish: Wish) -> Option<Reply> {
        let (reply, told) = oneshot::channel();
        self.knocks.send(Knock { wish, reply }).await.ok()?;
        told.await.ok()
    }
}

/// Tells whether a connection is this user's own.
async fn is_own(ours: SocketAddr, theirs: SocketAddr) -> bool {
    let caller = tokio::task::spawn_blocking(move || SocketTable::read().caller(ours, theirs)).await;
    is_heard(caller.unwrap_or(Caller::Unknown), rustix::process::geteuid().as_raw())
}

/// Tells whether a callback from somebody is heard. Any user of the machine can reach the port, and can read the state
/// in the arguments of the program that opens the browser. Root could do as it likes anyway, and carries the
/// connections of browsers outside a virtual machine.
fn is_heard(caller: Caller, own: u32) -> bool {
    match caller {
        Caller::User(uid) => uid == 0 || uid == own,
        Caller::Gone => false,
        Caller::Unknown => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_of_the_machine_is_not_heard() {
        for (caller, heard) in [
            (Caller::User(1000), true),
            (Caller::User(0), true),
            (Caller::User(1001), false),
            (Caller::Gone, false),
            (Caller::Unknown, true),
        ] {
            assert_eq!(is_heard(caller, 1000), heard, "{caller:?}");
        }
    }
}
