//! A server for tests: it answers each connection by its script, byte for byte, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::oauth::{EndpointUrl, Endpoints, LoopbackHttp};

/// The server. It ends with its runtime.
pub(crate) struct ScriptedServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The answers to come; the last one stays.
    script: VecDeque<Vec<u8>>,
    requests: Vec<String>,
}

impl ScriptedServer {
    /// Starts a server that gives these answers, one per connection, and the last of them ever after.
    pub(crate) async fn answering(script: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let server = Self { port, state: Arc::default() };
        server.then(script);
        tokio::spawn(serve(listener, Arc::clone(&server.state)));
        server
    }

    /// Gives the server another script.
    pub(crate) fn then(&self, script: impl IntoIterator<Item = Vec<u8>>) {
        self.state.lock().expect("no holder panics").script = script.into_iter().collect();
    }

    /// Returns the server's address.
    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns an endpoint at this server.
    pub(crate) fn endpoint(&self, path: &str) -> EndpointUrl {
        EndpointUrl::parse(&format!("{}{path}", self.issuer()), LoopbackHttp::Allowed)
            .expect("a loopback URL")
    }

    /// Returns all endpoints at this server.
    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints {
            authorization: Some(self.endpoint("/authorize")),
            device_authorization: Some(self.endpoint("/device")),
            revocation: Some(self.endpoint("/revoke")),
            ..Endpoints::at(self.endpoint("/token"))
        }
    }

    /// Returns every request so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().expect("no holder panics").requests.clone()
    }
}

/// Returns a whole answer with a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Some\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

/// Returns a whole answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, "Content-Type: application/json\r\n", body)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("the listener is open");
        let request = read_request(&mut stream).await;
        let answer = {
            let mut state = state.lock().expect("no holder panics");
            state.requests.push(request);
            if state.script.len() > 1 { state.script.pop_front() } else { state.script.front().cloned() }
        };
        // A client that refuses to read on closes the connection: that is part of some tests.
        if stream.write_all(&answer.expect("a script")).await.is_ok() {
            stream.shutdown().await.unwrap_or_default();
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut request).await.expect("the client is still there") == 0 {
            return String::from_utf8_lossy(&request).into_owned();
        }
    }
}
