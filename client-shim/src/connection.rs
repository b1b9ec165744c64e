//! One question to keyfobd and its answer: HTTP/1.1 over a blocking Unix socket, bounded in time and size.
//!
//! The thing to get wrong: a blocking `connect` to a socket whose backlog is full waits for ever, and a non-blocking
//! one fails at once. On Linux a Unix socket's send timeout bounds that wait, and the kernel ends it as soon as there
//! is room; the standard library cannot set it before it connects, which is why the socket is made by hand here.

mod server;

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use keyfob_protocol::SHIM_AGENT;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, connect, recv, socket_with};

use crate::answer::{Answer, Malformed};
use crate::clock::Deadline;
use crate::hardening;

/// How long keyfobd may be too busy to take the connection: it takes thousands each second, so it is stuck after that.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How much is read at once: nearly every answer fits.
const READ_SIZE: usize = 8 * 1024;

/// How long a question without a body is at most, nearly always.
const REQUEST_SIZE: usize = 512;

/// Why there is no answer, by what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody listens: a daemon can be started.
    #[error("nobody listens")]
    Absent,
    /// The socket is not ours to use.
    #[error("permission denied")]
    Denied,
    /// The socket is not ours, or somebody else could have put it there.
    #[error("{0}")]
    Unsafe(&'static str),
    /// The socket's path does not fit its address: another path must be set.
    #[error("the path is too long for a socket")]
    LongPath,
    /// It took too long: trying again later can help.
    #[error("no answer in time")]
    Late,
    /// The daemon hung up in the middle: trying again can help.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// What answers is not keyfobd, or one of another time.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The system refused.
    #[error(transparent)]
    Io(io::Error),
}

/// A question. What it carries may be a secret, so it has no `Debug` form.
#[derive(Clone)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) method: Method,
    /// With what: path and query, which hold nothing that would need escaping.
    pub(crate) target: String,
    /// In what form.
    pub(crate) accept: Accept,
    /// What goes with it, as JSON; empty if nothing does.
    pub(crate) body: String,
}

/// The methods of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Look.
    Get,
    /// Do.
    Post,
    /// Undo.
    Delete,
}

/// The form in which an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// JSON, the protocol's own form.
    Json,
    /// The bare token.
    PlainText,
}

impl Request {
    /// Returns a question that is answered in JSON.
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), accept: Accept::Json, body: String::new() }
    }

    /// Adds what goes with it, as JSON.
    pub(crate) fn with(self, body: String) -> Self {
        Self { body, ..self }
    }

    /// Returns the question as it is sent. Joined and not formatted: that is done at each start.
    fn text(&self) -> String {
        let method = match self.method {
            Method::Get => "GET ",
            Method::Post => "POST ",
            Method::Delete => "DELETE ",
        };
        let accept = match self.accept {
            Accept::Json => "application/json",
            Accept::PlainText => "text/plain",
        };
        let mut text = String::with_capacity(REQUEST_SIZE + self.body.len());
        let head = [
            method,
            &self.target,
            " HTTP/1.1\r\nHost: keyfob\r\nUser-Agent: ",
            SHIM_AGENT,
            "\r\nAccept: ",
            accept,
        ];
        head.into_iter().for_each(|part| text.push_str(part));
        if self.method == Method::Post {
            let kind = if self.body.is_empty() { "" } else { "\r\nContent-Type: application/json" };
            let length = self.body.len().to_string();
            [kind, "\r\nContent-Length: ", &length].into_iter().for_each(|part| text.push_str(part));
        }
        text.push_str("\r\nConnection: close\r\n\r\n");
        text.push_str(&self.body);
        text
    }
}

/// A connection, good for one question.
pub(crate) struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(socket: &Path, deadline: Deadline) -> Result<Self, Error> {
        let stream = open_stream(socket, deadline)?;
        Ok(Self { stream, received: Vec::with_capacity(READ_SIZE) })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(mut self, request: &Request, deadline: Deadline) -> Result<Answer, Error> {
        self.send(request)?;
        while deadline.left().is_some() {
            if let Some(answer) = self.answer_by(deadline)? {
                return Ok(answer);
            }
        }
        Err(Error::Late)
    }

    /// Asks. The send timeout of the connection bounds this too.
    pub(crate) fn send(&mut self, request: &Request) -> Result<(), Error> {
        self.stream.write_all(request.text().as_bytes()).map_err(during_exchange)
    }

    /// Waits for the answer until a deadline, or a signal; nothing if it is not there by then.
    pub(crate) fn answer_by(&mut self, deadline: Deadline) -> Result<Option<Answer>, Error> {
        while let Some(left) = deadline.left() {
            self.stream.set_read_timeout(Some(left)).map_err(Error::Io)?;
            match self.arrived().and_then(|()| self.read()) {
                Ok(0) => return Err(Error::Closed),
                Ok(_) => {}
                Err(error) if is_pause(&error) => return Ok(None),
                Err(error) => return Err(during_exchange(error)),
            }
            if let Some(answer) = Answer::read(&self.received)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Reads on, straight to where the answer is kept.
    fn read(&mut self) -> io::Result<usize> {
        self.received.reserve(READ_SIZE);
        Ok(rustix::io::read(&self.stream, spare_capacity(&mut self.received))?)
    }

    /// Waits until an answer begins to arrive, and shuts others out before it is read: by then keyfobd has looked at who
    /// asks, which it cannot any more after that.
    fn arrived(&self) -> io::Result<()> {
        if !self.received.is_empty() {
            return Ok(());
        }
        match recv(&self.stream, &mut [0; 1], RecvFlags::PEEK)? {
            // It was closed. Who asks a second time is looked at once more.
            (_, 0) => Ok(()),
            (_, _) => hardening::shut(),
        }
    }
}

/// Tells whether a read ended because of its timeout or of a signal.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn during_exchange(error: io::Error) -> Error {
    if is_pause(&error) {
        Error::Late
    } else if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) {
        Error::Closed
    } else {
        Error::Io(error)
    }
}

fn open_stream(socket: &Path, deadline: Deadline) -> Result<UnixStream, Error> {
    let site = server::find(socket)?;
    let descriptor = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(during_connect)?;
    while let Some(left) = deadline.left() {
        set_socket_timeout(&descriptor, Timeout::Send, Some(left.min(CONNECT_PATIENCE)))
            .map_err(during_connect)?;
        match connect(&descriptor, &site.address) {
            Ok(()) => {
                let stream = UnixStream::from(descriptor);
                server::check(&stream)?;
                return Ok(stream);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(during_connect(errno)),
        }
    }
    Err(Error::Late)
}

fn during_connect(errno: Errno) -> Error {
    match errno {
        // The socket is not there, or a dead daemon's.
        Errno::NOENT | Errno::CONNREFUSED => Error::Absent,
        Errno::ACCESS | Errno::PERM => Error::Denied,
        Errno::NAMETOOLONG => Error::LongPath,
        // The backlog was full all the time.
        Errno::AGAIN => Error::Late,
        _ => Error::Io(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn a_request_is_this_text() {
        let request = Request {
            method: Method::Get,
            target: "/v1/accounts/~/token?wait=10".to_owned(),
            accept: Accept::PlainText,
            body: String::new(),
        };
        assert_eq!(
            request.text(),
            "GET /v1/accounts/~/token?wait=10 HTTP/1.1\r\nHost: keyfob\r\nUser-Agent: keyfob\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            Request::new(Method::Post, "/v1/stop").text(),
            "POST /v1/stop HTTP/1.1\r\nHost: keyfob\r\nUser-Agent: keyfob\r\nAccept: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            Request::new(Method::Post, "/x").with(r#"{"a":"ä"}"#.to_owned()).text(),
            "POST /x HTTP/1.1\r\nHost: keyfob\r\nUser-Agent: keyfob\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{\"a\":\"ä\"}"
        );
    }

    #[test]
    fn a_daemon_that_takes_no_connections_is_late_not_absent() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        // One place in the backlog: Linux queues one connection more than the backlog says.
        rustix::net::listen(&listener, 0).unwrap();
        let queued = Connection::open(&socket, Deadline::after(CONNECT_PATIENCE));
        assert!(queued.is_ok());
        assert!(matches!(Connection::open(&socket, Deadline::after(SOON)), Err(Error::Late)));
    }

    #[test]
    fn room_in_the_backlog_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _queued = Connection::open(&socket, Deadline::after(CONNECT_PATIENCE)).unwrap();
        std::thread::scope(|scope| {
            let late = scope.spawn(|| Connection::open(&socket, Deadline::after(CONNECT_PATIENCE)).is_ok());
            listener.accept().unwrap();
            assert!(late.join().unwrap());
        });
    }

    #[test]
    fn an_answer_that_comes_in_pieces_after_a_wait_is_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection { stream: ours, received: Vec::new() };
        theirs.write_all(b"HTTP/1.1 200 OK\r\ncontent-len").unwrap();
        assert!(connection.answer_by(Deadline::after(SOON)).unwrap().is_none());
        theirs.write_all(b"gth: 5\r\n\r\ntoken").unwrap();
        let answer = connection.answer_by(Deadline::after(CONNECT_PATIENCE)).unwrap().unwrap();
        assert_eq!(answer.body, b"token");
    }

    #[test]
    fn an_answer_that_never_comes_is_late() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let connection = Connection { stream: ours, received: Vec::new() };
        let request = Request::new(Method::Get, "/v1/version");
        assert!(matches!(connection.ask(&request, Deadline::after(SOON)), Err(Error::Late)));
    }

    #[test]
    fn a_long_path_will_do_and_a_name_that_no_socket_can_have_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let (socket, long) = (home.path().join("s"), home.path().join("d".repeat(200)));
        let deadline = Deadline::after(CONNECT_PATIENCE);
        fs::create_dir(&long).unwrap();
        fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        fs::rename(&socket, long.join("s")).unwrap();
        assert!(Connection::open(&long.join("s"), deadline).is_ok());
        let name = "n".repeat(200);
        fs::rename(long.join("s"), long.join(&name)).unwrap();
        assert!(matches!(Connection::open(&long.join(name), deadline), Err(Error::LongPath)));
    }

    #[test]
    fn a_socket_that_others_can_have_put_there_gets_nothing_l7() {
        let home = tempfile::tempdir().unwrap();
        let (socket, link) = (home.path().join("s"), home.path().join("link"));
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        symlink(&socket, &link).unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let refused = |path: &Path| match Connection::open(path, Deadline::after(CONNECT_PATIENCE)) {
            Err(Error::Unsafe(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("connected"),
        };
        assert_eq!(refused(&link), "it is no socket");
        assert_eq!(refused(&home.path().join("file")), "it is no socket");
        for mode in [0o777, 0o770, 0o722, 0o1777] {
            fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(&socket), "others may write to its directory");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        for mode in [0o700, 0o755] {
            fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(Connection::open(&socket, Deadline::after(CONNECT_PATIENCE)).is_ok());
        }
    }
}
