//! The least that an HTTP server does here: bare hyper on a Unix socket, with one answer for everything.
//!
//! It is this very program, started once more, so that client and server do not share a process. Like keyfobd it has one
//! thread.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use axum::body::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use integration_tests::patience::{SOON, eventually};
use tokio::net::{UnixListener, UnixSocket};

/// The argument that makes this program the server.
pub(crate) const ROLE: &str = "bare-hyper";

/// As many as keyfobd lets wait.
const BACKLOG: u32 = 4096;

/// A running server.
pub(crate) struct BareHyper {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl BareHyper {
    /// Starts one that answers with so many bytes.
    pub(crate) fn start(directory: &Path, length: usize) -> Self {
        let socket = directory.join("hyper.sock");
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .arg(&socket)
            .arg(length.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        eventually(SOON, "bare hyper answers", || UnixStream::connect(&socket).is_ok());
        Self { child, socket }
    }
}

impl Drop for BareHyper {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Serves until it is killed.
pub(crate) fn serve(socket: &OsStr, length: &OsStr) {
    let length: usize = length.to_str().unwrap().parse().unwrap();
    let body = Bytes::from("x".repeat(length));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = listen(Path::new(socket));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let body = body.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                let body = body.clone();
                async move { Ok::<_, Infallible>(answer(body)) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn listen(path: &Path) -> UnixListener {
    let socket = UnixSocket::new_stream().unwrap();
    socket.bind(path).unwrap();
    socket.listen(BACKLOG).unwrap()
}

/// The headers are those of keyfobd's answer.
fn answer(body: Bytes) -> Response<axum::body::Body> {
    Response::builder()
        .header(CONTENT_TYPE, "text/plain")
        .header(CACHE_CONTROL, "no-store")
        .body(body.into())
        .unwrap()
}
