//! As much of systemd as keyfobd meets: who hears that it is ready, and who keeps its descriptors while it is not there.
//!
//! A descriptor comes back as systemd gives it: by number and name, to the process that `LISTEN_PID` names.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// How long it listens before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(100);

/// The longest message that systemd takes.
const LONGEST_MESSAGE: usize = 4096;

/// A service manager. It forgets what it keeps when this is dropped.
#[derive(Debug)]
pub struct ServiceManager {
    kept: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
    told: Arc<Mutex<Vec<String>>>,
    has_ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl ServiceManager {
    /// Listens at this path, which is what services find in `NOTIFY_SOCKET`.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket can be made");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        let (kept, told, has_ended) = (Arc::default(), Arc::default(), Arc::default());
        let (book, words, end) = (Arc::clone(&kept), Arc::clone(&told), Arc::clone(&has_ended));
        let listener = thread::spawn(move || hear(&socket, &book, &words, &end));
        Self { kept, told, has_ended, listener: Some(listener) }
    }

    /// Returns the messages that it got, in their order.
    pub fn told(&self) -> Vec<String> {
        locked(&self.told).clone()
    }

    /// Returns how often it was told that the service lives.
    pub fn pings(&self) -> usize {
        self.told().iter().filter(|message| message.lines().any(|line| line == "WATCHDOG=1")).count()
    }

    /// Returns the names under which it keeps descriptors.
    pub fn kept(&self) -> Vec<String> {
        locked(&self.kept).keys().cloned().collect()
    }

    /// Keeps a descriptor, as if a service had sent it.
    pub fn keep(&self, name: &str, descriptor: OwnedFd) {
        locked(&self.kept).insert(name.to_owned(), descriptor);
    }

    /// Returns how a service gets what is kept for it, as [`crate::home::Home::launch_by`] takes it: these lines, then
    /// what starts it.
    pub fn handover(&self) -> String {
        let kept = locked(&self.kept);
        let open = |(number, descriptor): (usize, &OwnedFd)| {
            format!("exec {}</proc/{}/fd/{}\n", number + 3, process::id(), descriptor.as_raw_fd())
        };
        let opened: String = kept.values().enumerate().map(open).collect();
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        format!(
            "{opened}export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}\n",
            names.len(),
            names.join(":")
        )
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        // Where it panicked it has said so.
        drop(self.listener.take().map(JoinHandle::join));
    }
}

fn hear(
    socket: &UnixDatagram,
    kept: &Mutex<BTreeMap<String, OwnedFd>>,
    told: &Mutex<Vec<String>>,
    has_ended: &AtomicBool,
) {
    while !has_ended.load(Ordering::SeqCst) {
        let Some((message, descriptors)) = receive(socket) else { continue };
        let lines: Vec<&str> = message.lines().collect();
        let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
        if lines.contains(&"FDSTORE=1") {
            locked(kept).extend(descriptors.into_iter().map(|descriptor| (name.to_owned(), descriptor)));
        }
        if lines.contains(&"FDSTOREREMOVE=1") {
            locked(kept).remove(name);
        }
        locked(told).push(message);
    }
}

fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut message = [0; LONGEST_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(received) => received,
        Err(errno) => {
            let kind = io::Error::from(errno).kind();
            assert!(matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted), "{errno}");
            return None;
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    Some((String::from_utf8_lossy(&message[..received.bytes]).into_owned(), descriptors))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
