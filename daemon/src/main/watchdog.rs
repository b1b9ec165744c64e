//! Tells systemd that the daemon lives, and only when it has just proven that.
//!
//! A timer alone proves nothing: what is proven is what clients live on. The clock of the renewals wakes us, the store
//! answers, and a request over the real socket is served. The thing to get wrong: a daemon that nobody watches must not wake up
//! for this.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyfob_daemon::api::Api;
use keyfob_daemon::cache::TokenCache;
use keyfob_daemon::token::failure::told;
use keyfob_protocol::socket::reachable;
use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::notification::{notify, status};

/// How long a request over the socket may take that needs nothing but the daemon: a thousand times what it takes.
const ANSWER: Duration = Duration::from_secs(1);

/// How many tries there are in each interval, so that one that fails is not the end of the daemon. The first half of the
/// interval passes in peace.
const TRIES: u32 = 8;

/// The question that everything between the socket and the handlers has to work for.
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: keyfob\r\nConnection: close\r\n\r\n";

/// The answer begins so.
const GOOD: &[u8] = b"HTTP/1.1 200 ";

/// How systemd watches over us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// How long it waits for a word.
    pub(crate) interval: Duration,
    /// The socket that clients use.
    pub(crate) socket: Served,
}

/// The socket that clients use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Who made it, and so who can make it again.
    pub(crate) maker: Maker,
}

/// Who made a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// We did.
    Us,
    /// It was handed over.
    Systemd,
}

/// Reads the interval from `WATCHDOG_USEC` and `WATCHDOG_PID`: nothing where nobody watches, or watches another process.
pub(crate) fn interval(microseconds: Option<&OsStr>, pid: Option<&OsStr>) -> Option<Duration> {
    let is_for_us = pid.is_none_or(|pid| pid.to_str() == Some(&process::id().to_string()));
    let microseconds = microseconds?.to_str()?.parse().ok()?;
    (is_for_us && microseconds > 0).then_some(Duration::from_micros(microseconds))
}

/// What did not work.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("the store does not answer")]
    Store,
    #[error("a request over the socket is not served within {ANSWER:?}")]
    Socket,
    #[error("a request over the socket is not served")]
    Refused(#[source] io::Error),
}

/// Proves again and again that the daemon lives, and says so. Ends with the runtime.
pub(crate) async fn keep(watch: Watch, api: Arc<Api>) {
    let Watch { interval, socket } = watch;
    let pause = interval / TRIES;
    let mut said = String::new();
    loop {
        pass(&api.cache, interval / 2).await;
        while let Err(stuck) = check(&socket, &api, pause).await {
            tracing::error!(error = told(&stuck), "systemd is not told that we live");
            pass(&api.cache, pause).await;
        }
        let now = status(&api.cache);
        if now == said {
            notify(&[NotifyState::Watchdog]);
        } else {
            notify(&[NotifyState::Watchdog, NotifyState::Status(&now)]);
            said = now;
        }
    }
}

/// Waits by the clock that renewals wait by.
async fn pass(cache: &TokenCache, time: Duration) {
    let clock = cache.clock();
    clock.sleep_until(clock.now().moment.after(time)).await;
}

async fn check(socket: &Served, api: &Api, patience: Duration) -> Result<(), Stuck> {
    match timeout(ANSWER, ask(&socket.path)).await {
        Ok(Ok(())) => {}
        // Whoever comes has to wait, and so do we. That is no reason to be killed.
        Ok(Err(_)) | Err(_) if api.is_full.load(Ordering::Relaxed) => {}
        // To be killed would cost what is under way, and mend nothing: systemd alone can put its socket back.
        Ok(Err(error)) if socket.maker == Maker::Systemd && error.kind() == io::ErrorKind::NotFound => {
            tracing::error!("the socket is gone; run: systemctl --user restart keyfobd.socket");
        }
        Err(_) => return Err(Stuck::Socket),
        Ok(Err(error)) => return Err(Stuck::Refused(error)),
    }
    match timeout(patience, api.cache.store_answers()).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Stuck::Store),
    }
}

async fn ask(socket: &Path) -> io::Result<()> {
    // Open meanwhile: the socket may be reached through it.
    let directory = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let mut stream = UnixStream::connect(reachable(socket, directory.as_fd())).await?;
    stream.write_all(QUESTION).await?;
    let mut begin = [0; GOOD.len()];
    stream.read_exact(&mut begin).await?;
    if begin == GOOD { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "it is refused")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(microseconds: &str, pid: Option<&str>) -> Option<Duration> {
        interval(Some(OsStr::new(microseconds)), pid.map(OsStr::new))
    }

    #[test]
    fn only_who_is_watched_has_an_interval_o2() {
        let own = process::id().to_string();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(read("60000000", Some(&own)), minute);
        assert_eq!(read("60000000", None), minute);
        assert_eq!(read("60000000", Some("1")), None);
        assert_eq!(interval(None, Some(OsStr::new(&own))), None);
        for nonsense in ["", "0", "-1", "soon"] {
            assert_eq!(read(nonsense, None), None, "{nonsense:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_at_which_nobody_accepts_is_no_answer_o2() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert!(ask(&path).await.is_err());
        // The system lets a client connect although nobody accepts it.
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        assert!(timeout(ANSWER, ask(&path)).await.is_err());
        drop(listener);
        assert!(ask(&path).await.is_err());
    }

    #[tokio::test]
    async fn only_a_request_that_is_served_is_an_answer_o2() {
        let directory = tempfile::tempdir().unwrap();
        for (answer, is_good) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("", false),
        ] {
            let path = directory.path().join(answer.len().to_string());
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // Who leaves with a question unread takes the answer along.
                stream.read_exact(&mut [0; QUESTION.len()]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (asked, ()) = tokio::join!(ask(&path), serving);
            assert_eq!(asked.is_ok(), is_good, "{answer:?}");
        }
    }
}
