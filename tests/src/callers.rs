//! Connections that come from many programs, for one test to use: the daemon counts how many each program has.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::programs;

/// How many connections one program makes: what the daemon lets one program have.
pub const AT_ONCE: usize = 64;

/// A program that has connected.
struct Caller {
    program: Child,
    line: UnixStream,
}

/// Connects so many times to a socket, from as few programs as the daemon allows.
///
/// # Panics
/// Panics where the socket takes no connections.
#[must_use]
pub fn connect(socket: &Path, count: usize) -> Vec<UnixStream> {
    let counts = (0..count.div_ceil(AT_ONCE)).map(|done| AT_ONCE.min(count - done * AT_ONCE));
    let callers: Vec<(Caller, usize)> = counts.map(|count| (Caller::start(socket, count), count)).collect();
    let streams = callers.iter().flat_map(|(caller, count)| caller.streams(*count)).collect();
    // None of them ends earlier: its process id could become another's.
    callers.into_iter().for_each(|(caller, _)| caller.dismiss());
    streams
}

impl Caller {
    fn start(socket: &Path, count: usize) -> Self {
        let (line, theirs) = UnixStream::pair().expect("a pair of sockets");
        let program = Command::new(programs::own("callers"))
            .arg(socket)
            .arg(count.to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("a program of this package starts");
        Self { program, line }
    }

    fn streams(&self, count: usize) -> Vec<UnixStream> {
        let (mut byte, mut streams) = ([0], Vec::new());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut byte)];
        recvmsg(&self.line, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("connections");
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                streams.extend(sent.map(UnixStream::from));
            }
        }
        assert_eq!(streams.len(), count, "a caller could not connect");
        streams
    }

    fn dismiss(mut self) {
        // It has ended already where this fails.
        drop(self.line.write_all(b"!"));
        drop(self.line);
        self.program.wait().expect("a child can be waited for");
    }
}
