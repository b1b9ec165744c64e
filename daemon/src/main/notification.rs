//! What systemd is told of the daemon: when it is ready, what it is about, when it goes.
//!
//! The thing to get wrong: what is told is seen by everybody who may look at the unit, and so says no more than how many
//! accounts there are and whether the store is open.

use std::time::Duration;

use keyfob_daemon::cache::TokenCache;
use keyfob_daemon::cache::pulse::LONGEST_END;
use keyfob_protocol::daemon::StoreState;
use sd_notify::NotifyState;

/// How much longer than the end takes at most systemd should wait for it: to write down what came, and to tell clients.
const MARGIN: Duration = Duration::from_secs(5);

/// Tells systemd, where it wants to know.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Tells that the daemon serves, and what.
pub(crate) fn ready(cache: &TokenCache) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(cache))]);
}

/// Tells that the configuration is read again. Since when is what a systemd that waits for the end of it wants to know.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => notify(&[NotifyState::Reloading, since]),
        Err(error) => tracing::warn!(%error, "cannot tell systemd of a reload"),
    }
}

/// Tells that the daemon stops, and that it may take longer where renewals are under way.
pub(crate) fn stopping(cache: &TokenCache) {
    if !cache.is_renewing() {
        return notify(&[NotifyState::Stopping]);
    }
    let longest = u32::try_from((LONGEST_END + MARGIN).as_micros()).expect("half a minute");
    let why = NotifyState::Status("a renewal that is under way may finish");
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(longest), why]);
}

/// Says in a line how it stands.
pub(crate) fn status(cache: &TokenCache) -> String {
    let accounts = cache.entries().len();
    let accounts = format!("{accounts} account{}", if accounts == 1 { "" } else { "s" });
    match cache.store().status().state {
        StoreState::Open => accounts,
        StoreState::Locked | StoreState::Unknown => format!("locked; {accounts}"),
    }
}
