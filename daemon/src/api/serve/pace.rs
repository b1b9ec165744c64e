//! A connection whose client has to keep pace: whoever says nothing, or a byte at a time, is cut off.
//!
//! The client's time runs while it is the client's turn: until a head is complete, between two requests, and while it does
//! not read an answer. It stands still while we work, for a renewal takes what it takes. It is counted in ticks that the
//! server gives to all connections at once: a timer for each would be set and taken back with every request. The thing to
//! get wrong: a client that sends a byte now and then must not be given new time for each.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How often time is taken off the clients', and so how much longer than its limit a connection may last.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// How many ticks a head may take, from the connection or from its first byte on: a program sends it in one piece.
const HEAD: u32 = 5;

/// For how many ticks a connection may rest between two requests, or an answer unread.
const REST: u32 = 30;

/// Whose turn it is. The connection, what answers on it and who counts the ticks share it.
#[derive(Debug)]
pub(super) struct Turn(Mutex<Phase>);

/// Makes it our turn for as long as this is there.
pub(super) struct Ours(Arc<Turn>);

/// What the client is at, and the ticks that are left to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It sends a head.
    Head(u32),
    /// It waits for us.
    Waiting,
    /// It has nothing to say, or has not read our answer yet.
    Resting(u32),
}

impl Turn {
    /// Starts with the client's turn.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Phase::Head(HEAD))))
    }

    /// Makes it our turn.
    pub(super) fn begin(turn: &Arc<Self>) -> Ours {
        *turn.phase() = Phase::Waiting;
        Ours(Arc::clone(turn))
    }

    /// Takes a tick off the client's time, and tells whether there was none left.
    pub(super) fn is_over(&self) -> bool {
        match &mut *self.phase() {
            Phase::Waiting => false,
            Phase::Head(0) | Phase::Resting(0) => true,
            Phase::Head(left) | Phase::Resting(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// Notes that the client said something.
    fn hear(&self) {
        let mut phase = self.phase();
        if let Phase::Resting(_) = *phase {
            *phase = Phase::Head(HEAD);
        }
    }

    /// The lock is held for the time of one look or note.
    fn phase(&self) -> MutexGuard<'_, Phase> {
        // It is one value, whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Resting(REST);
    }
}

/// A stream that notes when its client says something.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    turn: Arc<Turn>,
}

impl<S> Paced<S> {
    /// Notes it down there.
    pub(super) fn new(stream: S, turn: Arc<Turn>) -> Self {
        Self { stream, turn }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.turn.hear();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
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

    use super::*;

    /// Longer than any limit.
    const LONG: u32 = 3600;

    fn connection() -> (Paced<DuplexStream>, DuplexStream, Arc<Turn>) {
        let (ours, theirs) = duplex(4096);
        let turn = Turn::new();
        (Paced::new(ours, Arc::clone(&turn)), theirs, turn)
    }

    /// Returns after how many ticks the client's time is over.
    fn ticks(turn: &Turn) -> Option<u32> {
        (0..LONG).find(|_| turn.is_over())
    }

    #[test]
    fn who_says_nothing_is_cut_off() {
        assert_eq!(ticks(&Turn::new()), Some(HEAD));
    }

    #[tokio::test]
    async fn who_drips_is_given_no_more_time_than_who_says_nothing() {
        let (mut connection, mut theirs, turn) = connection();
        for tick in 0..LONG {
            theirs.write_u8(b'a').await.unwrap();
            connection.read_u8().await.unwrap();
            if turn.is_over() {
                assert_eq!(tick, HEAD);
                return;
            }
        }
        panic!("it drips for ever");
    }

    #[tokio::test]
    async fn our_own_work_takes_nothing_off_the_clients_time() {
        let (mut connection, mut theirs, turn) = connection();
        let ours = Turn::begin(&turn);
        assert_eq!(ticks(&turn), None, "a client that waits for us was cut off");
        drop(ours);
        // It may rest then, and the next head has as much time as the first one.
        theirs.write_u8(b'a').await.unwrap();
        connection.read_u8().await.unwrap();
        assert_eq!(ticks(&turn), Some(HEAD));
    }

    #[test]
    fn a_connection_may_rest_for_a_while_between_two_requests_or_before_it_reads_an_answer() {
        let turn = Turn::new();
        drop(Turn::begin(&turn));
        assert_eq!(ticks(&turn), Some(REST));
    }

    #[tokio::test]
    async fn what_was_sent_while_we_worked_gives_no_time_when_it_is_read() {
        let (mut connection, mut theirs, turn) = connection();
        let ours = Turn::begin(&turn);
        theirs.write_u8(b'a').await.unwrap();
        connection.read_u8().await.unwrap();
        assert_eq!(ticks(&turn), None);
        drop(ours);
        assert_eq!(ticks(&turn), Some(REST));
    }

    /// The server's part in it counts: it reads only when it has a reason to.
    #[tokio::test]
    async fn a_connection_rests_behind_the_server_as_soon_as_it_is_answered() {
        let (connection, mut theirs, turn) = connection();
        let of_answer = Arc::clone(&turn);
        let answer = service_fn(move |_| {
            let ours = Turn::begin(&of_answer);
            async move {
                drop(ours);
                Ok::<_, Infallible>(Response::new(String::from("done")))
            }
        });
        let _server = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
        theirs.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answered = Vec::new();
        while !answered.ends_with(b"done") {
            assert_ne!(theirs.read_buf(&mut answered).await.unwrap(), 0);
        }
        assert_eq!(ticks(&turn), Some(REST));
    }
}
