//! A server on a thread of its own, so that blocking tests can use it.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as Listener};
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running server. It is gone, with every connection, when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves until the end. Serving does not end by itself.
    pub(crate) fn run<F: Future<Output = ()>>(serve: impl FnOnce() -> F + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                tokio::select! {
                    () = serve() => panic!("a server of the harness ended"),
                    _ = stopped => (),
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread waits for the end of this sender.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been printed; another one inside a drop would abort the tests.
            drop(thread.join());
        }
    }
}

/// Listens on a free port.
pub(crate) fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.set_nonblocking(true).expect("a listener can be made non-blocking");
    let address = listener.local_addr().expect("a bound listener has an address");
    (listener, address)
}

/// Takes a listener over into the runtime of a server.
pub(crate) fn taken_over(listener: Listener) -> TcpListener {
    TcpListener::from_std(listener).expect("a listener can be taken over")
}
