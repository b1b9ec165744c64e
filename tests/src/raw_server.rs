//! A server that says what no server should: given bytes, and then others without end.
//!
//! It looks at no request. What it counts is the judge of who was asked, and of how much anybody was ready to read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long it waits for a client that neither reads nor goes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It takes no connection any more when this is dropped.
#[derive(Debug)]
pub struct RawServer {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    sent: AtomicU64,
    is_over: AtomicBool,
}

impl RawServer {
    /// Answers every connection with these bytes, and goes on with those others until the client leaves; without others
    /// the answer ends there.
    ///
    /// # Panics
    /// Panics where loopback has no free port.
    pub fn start(begin: &[u8], forever: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let counts = Arc::<Counts>::default();
        let (told, begin, forever) = (Arc::clone(&counts), begin.to_vec(), forever.to_vec());
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if told.is_over.load(Ordering::SeqCst) {
                    return;
                }
                told.connections.fetch_add(1, Ordering::SeqCst);
                let (told, begin, forever) = (Arc::clone(&told), begin.clone(), forever.clone());
                thread::spawn(move || answer(stream, &told, &begin, &forever));
            }
        });
        Self { address, counts, accepting: Some(accepting) }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its address as that of an issuer without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how many connections there were.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Returns how many bytes it got rid of.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::SeqCst)
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::SeqCst);
        // It wakes up by one more connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn answer(mut stream: TcpStream, counts: &Counts, begin: &[u8], forever: &[u8]) {
    let timeouts =
        stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    timeouts.expect("a connection takes timeouts");
    // The request is there before the answer: else a reset would overtake the answer.
    let mut buffer = [0; 16 * 1024];
    if !matches!(stream.read(&mut buffer), Ok(1..)) {
        return;
    }
    let mut bytes = begin;
    loop {
        if counts.is_over.load(Ordering::SeqCst) || stream.write_all(bytes).is_err() {
            return;
        }
        counts.sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if forever.is_empty() {
            drop(stream.shutdown(std::net::Shutdown::Write));
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
            return;
        }
        bytes = forever;
    }
}
