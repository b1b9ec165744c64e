//! A connection whose client has to keep pace: whoever says nothing, or a byte at a time, is cut off.
//!
//! The client's time runs while it is the client's turn: until a head is complete, between two requests, and while it does
//! not read an answer. It stands still while we work, for a renewal takes what it takes. The thing to get wrong: a client
//! that sends a byte now and then must not be given new time for each.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a head may take, from the connection or from its first byte on: a program sends it in one piece.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// How long a connection may rest between two requests, or an answer unread.
pub(super) const REST: Duration = Duration::from_secs(30);

/// Whose turn it is. The connection and what answers on it share it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    is_ours: AtomicBool,
}

/// Makes it our turn for as long as this is there.
pub(super) struct Ours(Arc<Turn>);

impl Turn {
    /// Makes it our turn.
    pub(super) fn begin(turn: &Arc<Self>) -> Ours {
        turn.is_ours.store(true, Ordering::Relaxed);
        Ours(Arc::clone(turn))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.is_ours.store(false, Ordering::Relaxed);
    }
}

/// What the client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It sends a head.
    Head,
    /// It waits for us.
    Waiting,
    /// It has nothing to say, or has not read our answer yet.
    Resting,
}

impl Phase {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Head => Some(HEAD),
            Self::Waiting => None,
            Self::Resting => Some(REST),
        }
    }
}

/// A stream that fails where its client does not keep pace.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    turn: Arc<Turn>,
    phase: Phase,
    /// Set as soon as there is something to wait for, which in most phases there is not.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Starts with the client's turn.
    pub(super) fn new(stream: S, turn: Arc<Turn>) -> Self {
        Self { stream, turn, phase: Phase::Head, alarm: None }
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.alarm = None;
        }
    }

    /// Finds out whose turn it is.
    fn look(&mut self) {
        if self.turn.is_ours.load(Ordering::Relaxed) {
            self.enter(Phase::Waiting);
        } else if self.phase == Phase::Waiting {
            self.enter(Phase::Resting);
        }
    }

    /// Returns what came of an attempt: where there is nothing, an error once the client's time is over.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, attempt: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(limit) = self.phase.limit().filter(|_| attempt.is_pending()) else { return attempt };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(limit)));
        alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look();
        let before = buffer.filled().len();
        let attempt = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if this.phase == Phase::Resting && buffer.filled().len() > before {
            this.enter(Phase::Head);
        }
        this.in_time(cx, attempt)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look();
        let attempt = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.in_time(cx, attempt)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.look();
        let attempt = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.in_time(cx, attempt)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look();
        // The server does not read again until something comes. So nobody would look at the time after the answer.
        if this.phase == Phase::Resting {
            drop(this.in_time::<()>(cx, Poll::Pending));
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn connection() -> (Paced<DuplexStream>, DuplexStream, Arc<Turn>) {
        let (ours, theirs) = duplex(16);
        let turn = Arc::new(Turn::default());
        (Paced::new(ours, Arc::clone(&turn)), theirs, turn)
    }

    /// Reads until the client is cut off, and returns after how long.
    async fn cut_off(connection: &mut Paced<DuplexStream>) -> Duration {
        let start = tokio::time::Instant::now();
        let error = loop {
            match connection.read_u8().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed()
    }

    fn is_about(time: Duration, limit: Duration) -> bool {
        time >= limit && time < limit + Duration::from_millis(10)
    }

    /// The server's part in it counts: it reads only when it has a reason to.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_too_long_behind_the_server_is_cut_off() {
        let (ours, mut theirs) = duplex(4096);
        let turn = Arc::new(Turn::default());
        let io = TokioIo::new(Paced::new(ours, Arc::clone(&turn)));
        let answer = service_fn(move |_| {
            let ours = Turn::begin(&turn);
            async move {
                sleep(MOMENT).await;
                drop(ours);
                Ok::<_, Infallible>(Response::new(String::from("done")))
            }
        });
        let _server = tokio::spawn(http1::Builder::new().serve_connection(io, answer));
        theirs.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answered = Vec::new();
        timeout(REST * 2, theirs.read_to_end(&mut answered)).await.expect("it rests for ever").unwrap();
        assert!(answered.ends_with(b"done"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_cut_off() {
        let (mut connection, _theirs, _) = connection();
        assert!(is_about(cut_off(&mut connection).await, HEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_given_no_more_time_than_who_says_nothing() {
        let (mut connection, mut theirs, _) = connection();
        let dripping = tokio::spawn(async move {
            while theirs.write_u8(b'a').await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert!(is_about(cut_off(&mut connection).await, HEAD));
        dripping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_work_takes_nothing_off_the_clients_time() {
        let (mut connection, mut theirs, turn) = connection();
        let ours = Turn::begin(&turn);
        let waiting = timeout(Duration::from_secs(3600), connection.read_u8()).await;
        assert!(waiting.is_err(), "a client that waits for us was cut off");
        drop(ours);
        // It may rest then, and the next head has as much time as the first one.
        theirs.write_u8(b'a').await.unwrap();
        connection.read_u8().await.unwrap();
        assert!(is_about(cut_off(&mut connection).await, HEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_rest_for_a_while_between_two_requests() {
        let (mut connection, _theirs, turn) = connection();
        let ours = Turn::begin(&turn);
        assert!(timeout(MOMENT, connection.read_u8()).await.is_err());
        drop(ours);
        assert!(is_about(cut_off(&mut connection).await, REST));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_the_answer_is_cut_off() {
        let (mut connection, _theirs, turn) = connection();
        let ours = Turn::begin(&turn);
        assert!(timeout(MOMENT, connection.read_u8()).await.is_err());
        drop(ours);
        let start = tokio::time::Instant::now();
        let error = connection.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(is_about(start.elapsed(), REST));
    }
}
