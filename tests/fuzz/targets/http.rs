//! Requests to the socket: one connection with whatever comes over it, in front of the whole API.
//!
//! Every answer is one of HTTP, no answer is an `internal` error, and no answer has a refresh token, ever.

#![no_main]

use std::cell::RefCell;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use axum::Router;
use keyfob_daemon::fuzzing::surface::{self, REFRESH_TOKEN};
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Duration, timeout};

/// Where nobody listens.
const CONFIG: &str = r#"
default_account = "prod"
[accounts.prod]
token_endpoint = "http://127.0.0.1:1/token"
device_authorization_endpoint = "http://127.0.0.1:1/device"
client_id = "cli"
grant = "device_code"
scopes = ["all"]
tls = { allow_http_loopback = true }
[accounts.browser]
authorization_endpoint = "http://127.0.0.1:1/authorize"
token_endpoint = "http://127.0.0.1:1/token"
client_id = "cli"
grant = "authorization_code"
tls = { allow_http_loopback = true }
"#;

/// Longer than any wait that the API offers. The clock is paused, so nobody waits for it.
const QUIET: Duration = Duration::from_secs(100);

/// Longer than all the waits of one input.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

struct Daemon {
    router: Router,
    runtime: Runtime,
    _state: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let state = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .expect("a directory");
        let router = runtime.block_on(async { surface::serve(CONFIG, state.path()) });
        Self { router, runtime, _state: state }
    }
}

thread_local! {
    static DAEMON: RefCell<Option<Daemon>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let answered = DAEMON.with_borrow_mut(|daemon| {
        let daemon = daemon.get_or_insert_with(Daemon::start);
        daemon.runtime.block_on(exchange(daemon.router.clone(), data))
    });
    // Who knows the token may be told what they asked for.
    assert!(has_token(data) || !has_token(&answered), "an answer has a refresh token");
    check(&answered);
    // Whatever may have changed something: the next input meets what this one met.
    let changes = |method: &[u8]| data.windows(method.len()).any(|window| window == method);
    if changes(b"POST") || changes(b"DELETE") {
        DAEMON.set(None);
    }
});

/// Returns all that comes back.
async fn exchange(router: Router, data: &[u8]) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let served = tokio::spawn(surface::converse(router, server));
    let (mut answers, mut requests) = tokio::io::split(client);
    let mut received = Vec::new();
    let asked = async {
        // Whoever is not read from any more has said enough.
        drop(requests.write_all(data).await);
        // Long enough for every wait that the API offers: then there is nothing more to come, and we hang up.
        let mut part = [0; 4096];
        while let Ok(read) = timeout(QUIET, answers.read(&mut part)).await {
            match read.expect("memory has no errors") {
                0 => return,
                length => received.extend_from_slice(&part[..length]),
            }
        }
        drop(requests.shutdown().await);
        answers.read_to_end(&mut received).await.expect("memory has no errors");
    };
    timeout(PATIENCE, asked).await.expect("a connection that never ends");
    served.await.expect("a connection does not panic");
    received
}

fn has_token(bytes: &[u8]) -> bool {
    bytes.windows(REFRESH_TOKEN.len()).any(|window| window == REFRESH_TOKEN.as_bytes())
}

/// Holds all that came back against HTTP/1.1, answer by answer.
fn check(mut received: &[u8]) {
    while !received.is_empty() {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a head has an end");
        let head = std::str::from_utf8(&received[..end]).expect("a head is text").to_ascii_lowercase();
        received = &received[end + 4..];
        let status: u16 = head
            .strip_prefix("http/1.1 ")
            .or_else(|| head.strip_prefix("http/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| panic!("no status: {head}"));
        assert!(status < 500 || status == 503, "{status}");
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let length: usize = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(header("transfer-encoding").is_none(), "the shim reads no chunks");
        // The answer to a HEAD says how long the answer to a GET would be.
        let body = match received.get(..length) {
            Some(body) if !body.starts_with(b"HTTP/1.") => body,
            Some(_) | None => &[],
        };
        received = &received[body.len()..];
        if header("content-type") == Some("application/json") && status >= 400 && !body.is_empty() {
            let error: ErrorBody = serde_json::from_slice(body).expect("an error has its form");
            assert_ne!(error.error, ErrorCode::Internal);
            assert_ne!(error.error, ErrorCode::Unknown);
            fuzz_targets::assert_harmless(&error.message);
        }
    }
}
