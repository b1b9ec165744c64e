//! Connects to a socket and hands the connections to who runs it, who gets them as another process's.
//!
//! usage: callers SOCKET COUNT, with a Unix stream socket as standard input. It stays until that ends, so that its process id
//! is nobody else's meanwhile.

#![expect(clippy::unwrap_used, reason = "a test harness")]

use std::io::{IoSlice, Read, stdin};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use integration_tests::callers::AT_ONCE;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let socket = arguments.next().unwrap();
    let count: usize = arguments.next().unwrap().parse().unwrap();
    let streams: Vec<UnixStream> = (0..count).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let descriptors: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)), "at most {AT_ONCE} connections");
    sendmsg(stdin(), &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty()).unwrap();
    drop(streams);
    stdin().read_to_end(&mut Vec::new()).unwrap();
}
