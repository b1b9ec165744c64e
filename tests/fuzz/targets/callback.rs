//! Requests to the port of a pending login. Without its state nothing is taken for its answer.
//!
//! Where an input has `STATE`, that becomes the state of the login: no fuzzer can guess it, and nobody else should.

#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::OnceLock;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keyfob_daemon::fuzzing::browser::{Callback, Heard};
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

const PLACEHOLDER: &[u8] = b"STATE";

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|data: &[u8]| {
    static CALLBACK: OnceLock<Callback> = OnceLock::new();
    let callback = CALLBACK.get_or_init(Callback::begin);
    let input = with_state(data, callback.state().as_bytes());
    let knows_state = input.len() != data.len();
    for heard in RUNTIME.with(|runtime| runtime.block_on(heard(callback, &input))) {
        match heard {
            Heard::Nothing | Heard::Outcome | Heard::Stray => {}
            Heard::Foreign | Heard::Refused => assert!(knows_state, "a stranger was heard"),
            Heard::Code(code) => {
                assert!(knows_state, "a stranger's code was taken");
                assert!(!code.is_empty());
            }
        }
    }
});

/// Lets the server of the port read the input, and returns what each request was to the login.
async fn heard(callback: &Callback, input: &[u8]) -> Vec<Heard> {
    let seen = RefCell::new(Vec::new());
    let (mut client, server) = tokio::io::duplex(128 * 1024);
    client.write_all(input).await.expect("it has room for the longest input");
    client.shutdown().await.expect("it is open");
    let service = service_fn(|request: Request<Incoming>| {
        seen.borrow_mut().push(callback.hear(&request.into_parts().0));
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    });
    // As the server of the port is made, but for its clock.
    let served = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .max_headers(100)
        .keep_alive(false)
        .serve_connection(TokioIo::new(server), service)
        .await;
    // A request that is none is no request.
    drop(served);
    seen.into_inner()
}

fn with_state(data: &[u8], state: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(PLACEHOLDER.len()).position(|window| window == PLACEHOLDER) {
        input.extend_from_slice(&rest[..at]);
        input.extend_from_slice(state);
        rest = &rest[at + PLACEHOLDER.len()..];
    }
    input.extend_from_slice(rest);
    input
}
