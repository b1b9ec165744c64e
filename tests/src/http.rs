//! One HTTP/1.1 request over a blocking stream: enough for the socket of the daemon and for the fake issuer.
//!
//! It says `connection: close` and reads to the end, so that what it reads is what was sent, cut short or not.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one exchange may take: longer than the longest wait that the daemon's API offers.
const DEADLINE: Duration = Duration::from_secs(90);

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path with the query.
    pub path: &'a str,
    /// Its headers, apart from `host`, `connection` and `content-length`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Its body.
    pub body: &'a str,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers, with lower-case names.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Response {
    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body.
    ///
    /// # Panics
    /// Panics with the body where it is something else.
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Sends a request over a Unix socket.
///
/// # Errors
/// Fails where no whole response arrives.
pub fn over_socket(socket: &Path, request: &Request) -> io::Result<Response> {
    Asked::over_socket(socket, request)?.response()
}

/// A request that has been sent over a Unix socket. Who drops it hangs up.
#[derive(Debug)]
pub struct Asked(UnixStream);

impl Asked {
    /// Sends a request, and does not wait for the response.
    ///
    /// # Errors
    /// Fails where nobody takes it.
    pub fn over_socket(socket: &Path, request: &Request) -> io::Result<Self> {
        Self::over(UnixStream::connect(socket)?, request)
    }

    /// Sends a request over a connection to a Unix socket, and does not wait for the response.
    ///
    /// # Errors
    /// Fails where nobody takes it.
    pub fn over(mut stream: UnixStream, request: &Request) -> io::Result<Self> {
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        send(&mut stream, "localhost", request)?;
        Ok(Self(stream))
    }

    /// Waits for the response.
    ///
    /// # Errors
    /// Fails where no whole response arrives.
    pub fn response(mut self) -> io::Result<Response> {
        receive(&mut self.0)
    }
}

/// Sends a request to the server of an `http` URL, whose path is not looked at.
///
/// # Errors
/// Fails where no whole response arrives.
pub fn over_tcp(url: &str, request: &Request) -> io::Result<Response> {
    let authority = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or(url);
    let stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    exchange(stream, authority, request)
}

/// Posts a form to an `http` URL.
///
/// # Errors
/// Fails where no whole response arrives.
pub fn post_form(url: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> io::Result<Response> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    over_tcp(url, &Request { method: "POST", path: path_of(url), headers: &all, body: &body })
}

/// Gets an `http` URL.
///
/// # Errors
/// Fails where no whole response arrives.
pub fn get(url: &str) -> io::Result<Response> {
    over_tcp(url, &Request { method: "GET", path: path_of(url), headers: &[], body: "" })
}

/// Returns path and query of an `http` URL.
fn path_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |start| start + 3);
    url[after_scheme..].find('/').map_or("/", |slash| &url[after_scheme + slash..])
}

fn exchange(mut stream: impl Read + Write, host: &str, request: &Request) -> io::Result<Response> {
    send(&mut stream, host, request)?;
    receive(&mut stream)
}

fn send(stream: &mut impl Write, host: &str, request: &Request) -> io::Result<()> {
    let Request { method, path, headers, body } = request;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn receive(stream: &mut impl Read) -> io::Result<Response> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    parse(&received)
}

fn parse(received: &[u8]) -> io::Result<Response> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response");
    let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(no_head)?;
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status: status.ok_or_else(malformed)?, headers, body: String::new() };
    let body = &received[end + 4..];
    let body = match (response.header("transfer-encoding"), response.header("content-length")) {
        (Some(_), _) => unchunked(body)?,
        (None, Some(length)) if length.parse() != Ok(body.len()) => return Err(cut_short()),
        (None, _) => body.to_vec(),
    };
    response.body = String::from_utf8_lossy(&body).into_owned();
    Ok(response)
}

fn unchunked(mut body: &[u8]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|bytes| bytes == b"\r\n").ok_or_else(cut_short)?;
        let size =
            std::str::from_utf8(&body[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(cut_short)?;
        let chunk = body.get(line + 2..line + 2 + size).ok_or_else(cut_short)?;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(chunk);
        body = body.get(line + 2 + size + 2..).ok_or_else(cut_short)?;
    }
}

fn no_head() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before a response")
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the body is cut short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_in_chunks_is_put_together() {
        let response =
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, "abcd"));
    }

    #[test]
    fn a_response_that_is_cut_short_is_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd";
        assert!(parse(whole).is_ok());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end} bytes were taken for a response");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").is_err());
    }

    #[test]
    fn a_path_has_its_query() {
        assert_eq!(path_of("http://127.0.0.1:1/device?user_code=A"), "/device?user_code=A");
        assert_eq!(path_of("http://127.0.0.1:1"), "/");
    }
}
