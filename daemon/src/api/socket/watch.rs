//! Notices when something is removed from a directory, or moved, without looking again and again (inotify(7)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, read};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::api::socket::directory::Directory;

/// What can take a name away. That something is made can not.
const REMOVALS: WatchFlags = WatchFlags::DELETE
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF);

/// A directory that is watched. What happened in it before is not told.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Begins to watch.
    #[expect(
        deprecated,
        reason = "an OwnedFd keeps its descriptor, which is all that the unsafe successor asks for"
    )]
    pub(super) fn of(directory: &Directory) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, directory.link(), REMOVALS)?;
        Ok(Self { inotify: AsyncFd::with_interest(inotify, Interest::READABLE)? })
    }

    /// Waits until something was taken away. What it was has to be looked up: it may be there again.
    pub(super) async fn changed(&mut self) {
        let mut events = [0; 4096];
        loop {
            let Ok(mut ready) = self.inotify.readable().await else {
                // The runtime is about to end.
                return std::future::pending().await;
            };
            match read(self.inotify.get_ref(), &mut events) {
                Ok(_) => return,
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    tracing::warn!(error = %io::Error::from(errno), "the socket is not watched any more");
                    return std::future::pending().await;
                }
            }
        }
    }
}
