//! A relay from a port of loopback to a Unix socket, for programs that speak TCP alone.
//!
//! It takes whatever comes to the daemon of a story as if it were this user's, so it is there for a test's own programs,
//! and for as long as the test takes.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;

use crate::server::{Server, listen, taken_over};

/// A relay. It is gone, with every connection, when this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    _serving: Server,
}

impl Relay {
    /// Starts a relay to a socket, on a free port.
    pub fn start(socket: &Path) -> Self {
        let (listener, address) = listen();
        let socket = socket.to_owned();
        let serving = Server::run(async move || {
            let listener = taken_over(listener);
            while let Ok((mut client, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the business of whoever made it.
                    if let Ok(mut daemon) = UnixStream::connect(socket).await {
                        drop(copy_bidirectional(&mut client, &mut daemon).await);
                    }
                });
            }
        });
        Self { address, _serving: serving }
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
