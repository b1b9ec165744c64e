//! Clients that ask the socket for a token, over and over.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use integration_tests::patience::now;

use crate::commands::Times;

/// Whether each request comes on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// As a shim does it.
    Fresh,
    /// As a long-running client does it.
    Kept,
}

/// What a load came to.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Times,
    pub(crate) errors: usize,
}

/// Lets clients ask for a time.
pub(crate) fn run(socket: &Path, clients: usize, connection: Connection, time: Duration) -> Load {
    let start = now();
    let end = start + time;
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let socket = socket.to_owned();
            thread::spawn(move || {
                let (mut latencies, mut errors, mut kept) = (Vec::new(), 0, None);
                while now() < end {
                    let begun = now();
                    match ask(&socket, connection, &mut kept) {
                        Ok(()) => latencies.push(begun.elapsed().as_micros()),
                        Err(_) => errors += 1,
                    }
                }
                (latencies, errors)
            })
        })
        .collect();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    for worker in workers {
        let (of_one, errors_of_one) = worker.join().unwrap();
        latencies.extend(of_one);
        errors += errors_of_one;
    }
    let per_second = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Load { per_second, latencies: Times::new(latencies), errors }
}

/// Makes one request and reads the whole answer.
fn ask(socket: &Path, connection: Connection, kept: &mut Option<BufReader<UnixStream>>) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(UnixStream::connect(socket)?),
    };
    let header = match connection {
        Connection::Fresh => "connection: close\r\n",
        Connection::Kept => "",
    };
    let request =
        format!("GET /v1/accounts/prod/token HTTP/1.1\r\nhost: keyfob\r\naccept: text/plain\r\n{header}\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut line) = (0, String::new());
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(line));
    }
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    *kept = (connection == Connection::Kept).then_some(stream);
    Ok(())
}
