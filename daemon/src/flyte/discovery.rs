//! What Flyte endpoints say, remembered: in memory and on disk, once for all accounts.
//!
//! An endpoint is asked by one at a time, and whoever waited shares the answer, good or bad. What is known stays in force
//! until something newer is known, however old it is. The thing to get wrong: a renewal must not wait for an endpoint
//! that is down, so what is old is asked for again beside it and not before it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;

use crate::clock::{Clock, Moment};
use crate::flyte::Endpoint;
use crate::flyte::ask::Asker;
use crate::flyte::auth_metadata::AuthMetadata;
use crate::flyte::file::CacheFile;
use crate::flyte::message::Said;
use crate::oauth::LoopbackHttp;
use crate::oauth::http::Http;
use crate::oauth::transport::Transport;
use crate::token::failure::Failure;

/// How long an answer counts as fresh: clients are registered by the year, and people who register another one wait no
/// longer than this.
const FRESH: Duration = Duration::from_secs(3600);

/// After a failure, how long what is known is used without asking again: an endpoint that is down needs no crowd.
const STALE: Duration = Duration::from_secs(300);

/// The Flyte endpoints of all accounts.
#[derive(Clone, Debug)]
pub struct Discoveries {
    state: PathBuf,
    clock: Clock,
    known: Arc<Mutex<Vec<Weak<Discovery>>>>,
}

impl Discoveries {
    /// Knows none yet. What they say is kept in a directory that is ours alone.
    pub fn new(state: &Path, clock: Clock) -> Self {
        Self { state: state.to_owned(), clock, known: Arc::default() }
    }

    /// Returns the one for an endpoint that is reached in this way. `http` is of the same policy, and is used from now on:
    /// it may have read a newer CA file.
    pub(crate) fn of(&self, endpoint: &Endpoint, http: &Http, transport: &Transport) -> Arc<Discovery> {
        let asker = Arc::new(Asker::new(endpoint.clone(), http.clone(), transport));
        // Nothing in here can be half done.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|discovery| discovery.strong_count() > 0);
        let same = |found: &Arc<Discovery>| found.endpoint == *endpoint && found.transport == *transport;
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(same) {
            *found.asker.lock().unwrap_or_else(PoisonError::into_inner) = asker;
            return found;
        }
        let discovery = Arc::new(Discovery {
            endpoint: endpoint.clone(),
            transport: transport.clone(),
            file: CacheFile::of(&self.state, endpoint, transport),
            clock: self.clock.clone(),
            asker: Mutex::new(asker),
            attempts: AtomicU64::new(0),
            state: AsyncMutex::default(),
        });
        known.push(Arc::downgrade(&discovery));
        discovery
    }
}

/// Knows what one endpoint says.
pub(crate) struct Discovery {
    endpoint: Endpoint,
    transport: Transport,
    file: CacheFile,
    clock: Clock,
    /// How to ask; taken out for as long as it takes to copy it.
    asker: Mutex<Arc<Asker>>,
    /// How many attempts have ended.
    attempts: AtomicU64,
    /// Held while asking for the first time, so that concurrent callers share one answer.
    state: AsyncMutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// What came of the latest attempt, if it failed.
    failed: Option<Failure>,
    has_read_file: bool,
    is_asking: bool,
}

#[derive(Debug)]
struct Known {
    said: Arc<Said>,
    ask_again_at: Moment,
}

impl Discovery {
    /// Returns what the endpoint says, checked. Plain http to loopback is for the account to allow.
    pub(crate) async fn auth_metadata(
        self: &Arc<Self>,
        loopback: LoopbackHttp,
    ) -> Result<AuthMetadata, Failure> {
        let said = self.said().await?;
        let checked = AuthMetadata::of(&said, loopback);
        checked.map_err(|unusable| Failure::misconfigured(format!("{} {unusable}", self.endpoint.host())))
    }

    async fn said(self: &Arc<Self>) -> Result<Arc<Said>, Failure> {
        let attempts = self.attempts.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if !state.has_read_file {
            state.known = self.read_file().await;
            state.has_read_file = true;
        }
        if let Some(known) = &state.known {
            let said = Arc::clone(&known.said);
            if self.clock.now().moment >= known.ask_again_at && !state.is_asking {
                state.is_asking = true;
                tokio::spawn(Arc::clone(self).ask_again());
            }
            return Ok(said);
        }
        // Somebody asked while we waited.
        if let Some(failure) =
            state.failed.as_ref().filter(|_| self.attempts.load(Ordering::SeqCst) > attempts)
        {
            return Err(failure.clone());
        }
        let answered = self.asker().ask(self.clock.now()).await;
        self.take(&mut state, answered).await
    }

    /// Asks again, beside whoever goes on with what is known.
    async fn ask_again(self: Arc<Self>) {
        let answered = self.asker().ask(self.clock.now()).await;
        let mut state = self.state.lock().await;
        state.is_asking = false;
        if let Err(failure) = self.take(&mut state, answered).await {
            tracing::warn!(endpoint = %self.endpoint, %failure, "going on with what is known");
        }
    }

    /// Takes over what came of an attempt.
    async fn take(&self, state: &mut State, answered: Result<Said, Failure>) -> Result<Arc<Said>, Failure> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let now = self.clock.now().moment;
        match answered {
            Ok(said) => {
                let (file, stamp, kept) = (self.file.clone(), self.clock.stamp(now), said.clone());
                // It fails only by a panic, and all that is lost is a copy.
                drop(spawn_blocking(move || file.write(kept, stamp)).await);
                let said = Arc::new(said);
                state.known = Some(Known { said: Arc::clone(&said), ask_again_at: now.after(FRESH) });
                state.failed = None;
                Ok(said)
            }
            Err(failure) => {
                if let Some(known) = &mut state.known {
                    known.ask_again_at = now.after(STALE);
                }
                state.failed = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn read_file(&self) -> Option<Known> {
        let file = self.file.clone();
        let remembered = spawn_blocking(move || file.read()).await.ok().flatten()?;
        // A clock that was set back must not make an answer fresh for ever.
        let now = self.clock.now().moment;
        let said_at = self.clock.moment(&remembered.said_at).min(now);
        Some(Known { said: Arc::new(remembered.said), ask_again_at: said_at.after(FRESH) })
    }

    fn asker(&self) -> Arc<Asker> {
        Arc::clone(&self.asker.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
