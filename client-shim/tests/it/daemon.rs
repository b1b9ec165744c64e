//! A daemon that listens on a real socket and answers as a test tells it to.
//!
//! Each connection has its own thread, so that an answer may take its time.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Request {
    /// Its first line without the version, such as `GET /v1/version`.
    pub(crate) line: String,
    /// All of it but the body.
    pub(crate) head: String,
    /// What goes with it.
    pub(crate) body: String,
}

/// The bytes of an answer, whatever they are.
pub(crate) struct Answer(pub(crate) Vec<u8>);

pub(crate) struct Daemon {
    directory: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Answer {
    pub(crate) fn token(token: &str) -> Self {
        Self::new("200 OK", "text/plain; charset=utf-8", token)
    }

    pub(crate) fn json(json: &str) -> Self {
        Self::new("200 OK", "application/json", json)
    }

    pub(crate) fn error(status: u16, json: &str) -> Self {
        Self::new(&format!("{status} Trouble"), "application/json", json)
    }

    pub(crate) fn nothing() -> Self {
        Self(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())
    }

    fn new(status: &str, media_type: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Self(text.into_bytes())
    }
}

impl Daemon {
    /// Starts a daemon with these answers.
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let daemon = Self { directory, requests: Arc::default() };
        let listener = UnixListener::bind(daemon.socket()).unwrap();
        let requests = Arc::clone(&daemon.requests);
        let answer = Arc::new(answer);
        // The thread ends with the program: nobody connects to a directory that is gone.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &requests, &*answer));
            }
        });
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("keyfob.sock")
    }

    /// Returns the path of a file beside the socket.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the first lines of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.line.clone()).collect()
    }

    /// Returns the latest request as it came.
    pub(crate) fn latest(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().head.clone()
    }
}

fn serve(mut stream: UnixStream, requests: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.split(" HTTP/1.1\r\n").next().unwrap().to_owned();
    let length = head.split("\r\nContent-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    if stream.read_exact(&mut body).is_err() {
        return;
    }
    let request = Request { line, head, body: String::from_utf8(body).unwrap() };
    requests.lock().unwrap().push(request.clone());
    let Answer(bytes) = answer(&request);
    // The shim may have been killed by then.
    if stream.write_all(&bytes).is_ok() {
        stream.shutdown(Shutdown::Both).unwrap_or_default();
    }
}
