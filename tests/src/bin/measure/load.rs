//! Clients that ask the socket for a token, over and over.
//!
//! keyfobd counts how many connections each program has, so clients of a crowd are in several programs: this one, started
//! once more for each part of them.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use integration_tests::patience::now;

use crate::figures::Times;

/// What a client's thread needs: there are a thousand of them.
const STACK: usize = 64 * 1024;

/// The argument that makes this program one of clients.
pub(crate) const ROLE: &str = "clients";

/// How many clients are in one program: fewer than keyfobd lets one program have.
const OF_ONE: usize = 50;

/// Whether each request comes on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// As a shim does it.
    Fresh,
    /// As a long-running client does it.
    Kept,
}

impl Connection {
    fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Kept => "kept",
        }
    }
}

/// What a load came to.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) latencies: Times,
    pub(crate) errors: usize,
}

impl Load {
    /// Returns it as bytes: the rate, the errors, then each time.
    fn written(&self) -> Vec<u8> {
        let head = [self.per_second.to_bits(), self.errors as u64];
        let times = self.latencies.iter().map(|time| u64::try_from(time).unwrap());
        head.into_iter().chain(times).flat_map(u64::to_le_bytes).collect()
    }

    fn read(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let mut next = || numbers.next().unwrap();
        let (per_second, errors) = (f64::from_bits(next()), usize::try_from(next()).unwrap());
        Self { per_second, errors, latencies: Times::new(numbers.map(u128::from).collect()) }
    }

    /// Returns several loads as one.
    pub(crate) fn of_all(loads: Vec<Self>) -> Self {
        let per_second = loads.iter().map(|load| load.per_second).sum::<f64>() / loads.len() as f64;
        let errors = loads.iter().map(|load| load.errors).sum();
        Self { per_second, errors, latencies: Times::of_all(loads.into_iter().map(|load| load.latencies)) }
    }
}

/// A load: so many clients, each asking for this account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients<'a> {
    pub(crate) count: usize,
    pub(crate) connection: Connection,
    pub(crate) account: &'a str,
}

/// Returns what tells when a time is over that begins now.
pub(crate) fn lasting(time: Duration) -> impl Fn() -> bool + Sync {
    let end = now() + time;
    move || now() >= end
}

/// Lets clients ask until it is over.
pub(crate) fn run(socket: &Path, clients: Clients<'_>, is_over: impl Fn() -> bool + Sync) -> Load {
    let close = match clients.connection {
        Connection::Fresh => "connection: close\r\n",
        Connection::Kept => "",
    };
    let request = format!(
        "GET /v1/accounts/{}/token HTTP/1.1\r\nhost: keyfob\r\naccept: text/plain\r\n{close}\r\n",
        clients.account
    );
    let client = || {
        let (mut latencies, mut errors, mut kept) = (Vec::new(), 0, None);
        while !is_over() {
            let begun = now();
            match ask(socket, &request, clients.connection, &mut kept) {
                Ok(()) => latencies.push(begun.elapsed().as_micros()),
                Err(_) => errors += 1,
            }
        }
        (latencies, errors)
    };
    let start = now();
    let (mut latencies, mut errors) = (Vec::new(), 0);
    thread::scope(|scope| {
        let spawn = || thread::Builder::new().stack_size(STACK).spawn_scoped(scope, client).unwrap();
        let workers: Vec<_> = (0..clients.count).map(|_| spawn()).collect();
        for worker in workers {
            let (of_one, errors_of_one) = worker.join().unwrap();
            latencies.extend(of_one);
            errors += errors_of_one;
        }
    });
    let per_second = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Load { per_second, latencies: Times::new(latencies), errors }
}

/// Lets clients ask for a time from programs of their own.
pub(crate) fn run_apart(socket: &Path, clients: Clients<'_>, time: Duration) -> Load {
    let start = |count: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args([ROLE, &count.to_string(), clients.connection.word(), clients.account])
            .arg(time.as_millis().to_string())
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let parts = (0..clients.count.div_ceil(OF_ONE)).map(|done| OF_ONE.min(clients.count - done * OF_ONE));
    let programs: Vec<Child> = parts.map(start).collect();
    let loads = programs.into_iter().map(|program| {
        let output = program.wait_with_output().unwrap();
        assert!(output.status.success(), "a program of clients failed: {}", output.status);
        Load::read(&output.stdout)
    });
    let loads: Vec<Load> = loads.collect();
    // They ran at the same time.
    Load {
        per_second: loads.iter().map(|load| load.per_second).sum(),
        errors: loads.iter().map(|load| load.errors).sum(),
        latencies: Times::of_all(loads.into_iter().map(|load| load.latencies)),
    }
}

/// Is the clients of one program, and writes down how that went.
pub(crate) fn be_clients(arguments: &[OsString]) {
    let [count, connection, account, milliseconds, socket] = arguments else { panic!("not from here") };
    let text = |argument: &OsString| argument.to_str().unwrap().to_owned();
    let (account, word) = (text(account), text(connection));
    let connection =
        [Connection::Fresh, Connection::Kept].into_iter().find(|kind| kind.word() == word).unwrap();
    let clients = Clients { count: text(count).parse().unwrap(), connection, account: &account };
    let time = Duration::from_millis(text(milliseconds).parse().unwrap());
    let load = run(Path::new(socket), clients, lasting(time));
    io::stdout().write_all(&load.written()).unwrap();
}

/// Makes one request and reads the whole answer.
fn ask(
    socket: &Path,
    request: &str,
    connection: Connection,
    kept: &mut Option<BufReader<UnixStream>>,
) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::with_capacity(4096, UnixStream::connect(socket)?),
    };
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
