//! The daemon at work: from the opened store to the last renewal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyfob_daemon::account::registry::Registry;
use keyfob_daemon::api::control::{Control, MAX_ORDERS, Order};
use keyfob_daemon::api::socket::OwnSocket;
use keyfob_daemon::api::{Api, serve};
use keyfob_daemon::cache::TokenCache;
use keyfob_daemon::config::environment::Environment;
use keyfob_daemon::config::{Config, ConfigError};
use keyfob_daemon::flyte::keyring::Keyrings;
use keyfob_daemon::token::failure::{abnormal, told};
use keyfob_protocol::daemon::ReloadReport;
use keyfob_protocol::error::{ErrorBody, ErrorCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::notification;
use super::watchdog::{self, Watch};
use super::{Obstacle, failure};

/// How long clients have to read their last answers when all renewals are done.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the daemon was started with.
pub(crate) struct Service {
    pub(crate) cache: TokenCache,
    pub(crate) config: Config,
    pub(crate) socket: OwnSocket,
    pub(crate) config_path: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) keyrings: Keyrings,
    /// How systemd watches over us, if it does.
    pub(crate) watch: Option<Watch>,
    /// Called once requests are answered.
    pub(crate) when_ready: Box<dyn FnOnce() -> io::Result<()>>,
}

/// Serves until it is told to stop, then lets renewals finish.
pub(crate) async fn run(service: Service) -> Result<(), Obstacle> {
    let Service { cache, config, socket, config_path, environment, keyrings, watch: watched, when_ready } =
        service;
    let mut signals = Signals::new().map_err(|error| failure(&error))?;
    let (orders, mut given) = mpsc::channel(MAX_ORDERS);
    let started_at = cache.clock().now().wall;
    report(&cache.apply(registry(config)));
    let api = Arc::new(Api::new(cache, Control { orders, started_at }, keyrings));
    let (stop, stopping) = watch::channel(());
    let server = tokio::spawn(serve::run(socket, Arc::clone(&api), asked(stopping)));
    when_ready().map_err(|error| failure(&error))?;
    notification::ready(&api.cache);
    if let Some(watched) = watched {
        tokio::spawn(watchdog::keep(watched, Arc::clone(&api)));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    loop {
        tokio::select! {
            order = given.recv() => match order {
                Some(Order::Reload(reply)) => {
                    let outcome = reload(&api, &config_path, &environment).await;
                    // Whoever asked may have gone.
                    drop(reply.send(outcome));
                }
                Some(Order::Stop) | None => break,
            },
            wish = signals.next() => match wish {
                Wish::Reload => drop(reload(&api, &config_path, &environment).await),
                Wish::Stop => break,
            },
        }
    }
    notification::stopping(&api.cache);
    tracing::info!("stopping: renewals that are under way may finish");
    drop(stop);
    tokio::select! {
        () = api.cache.shut_down() => {}
        wish = signals.stop() => tracing::warn!(?wish, "told to stop again: exiting at once"),
    }
    // A long poll that is still open is no reason to stay.
    drop(timeout(LAST_ANSWERS, server).await);
    tracing::info!("stopped");
    Ok(())
}

/// Ends when the daemon has been told to stop.
async fn asked(mut stopping: watch::Receiver<()>) {
    // The sender is dropped, and never sends.
    drop(stopping.changed().await);
}

/// Reads the configuration again. Where it has a mistake, the old one stays in force.
///
/// It reads files, and the certificates of each account: meanwhile tokens are served.
async fn reload(api: &Arc<Api>, path: &Path, environment: &Environment) -> Result<ReloadReport, ErrorBody> {
    notification::reloading();
    let (of_reader, path, environment) = (Arc::clone(api), path.to_owned(), environment.clone());
    let taken_over = tokio::task::spawn_blocking(move || take_over(&of_reader, &path, &environment)).await;
    notification::ready(&api.cache);
    taken_over.unwrap_or_else(|error| {
        tracing::error!(error = abnormal(&error), "a reload ended abnormally");
        Err(ErrorBody::new(ErrorCode::Unavailable, "the reload ended abnormally")
            .with_hint("see the daemon's log"))
    })
}

fn take_over(api: &Api, path: &Path, environment: &Environment) -> Result<ReloadReport, ErrorBody> {
    match reread(&api.cache, path, environment) {
        Ok(config) => {
            let changes = api.cache.apply(registry(config));
            api.confirmations.forget();
            report(&changes);
            Ok(changes)
        }
        Err(error) => {
            tracing::error!(error = told(&error), "the old configuration stays in force");
            Err(not_taken_over(&error))
        }
    }
}

fn not_taken_over(error: &ConfigError) -> ErrorBody {
    let (message, details) = match error {
        ConfigError::Unreadable { .. } | ConfigError::Unsafe { .. } => (told(error), Vec::new()),
        ConfigError::Mistakes(mistakes) => {
            let lines = mistakes.to_string().lines().map(str::to_owned).collect();
            ("the configuration has mistakes".to_owned(), lines)
        }
    };
    let hint = "the old one stays in force; mend it, then run: keyfob reload";
    ErrorBody { details, ..ErrorBody::new(ErrorCode::Misconfigured, message).with_hint(hint) }
}

/// Reads the configuration, which has to be there if there are accounts to lose.
fn reread(cache: &TokenCache, path: &Path, environment: &Environment) -> Result<Config, ConfigError> {
    if !cache.entries().is_empty() {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        fs::metadata(path).map_err(unreadable)?;
    }
    Config::read(path, environment)
}

fn registry(config: Config) -> Registry {
    Registry::new(config.accounts, config.default_account)
}

fn report(changes: &ReloadReport) {
    let ReloadReport { added, changed, kept, removed } = changes;
    tracing::info!(
        added = added.len(),
        changed = changed.len(),
        kept = kept.len(),
        removed = removed.len(),
        "took over the configuration"
    );
}

/// What a signal asks for.
#[derive(Debug)]
enum Wish {
    Stop,
    Reload,
}

/// The signals that the daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Heard and not heeded: a file that may not grow any more is an error of the write then, and not the end of us.
    _file_size: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }

    /// Waits for a signal to stop, whatever else comes.
    async fn stop(&mut self) -> Wish {
        loop {
            match self.next().await {
                Wish::Stop => return Wish::Stop,
                Wish::Reload => tracing::info!("does not reload: the daemon is stopping"),
            }
        }
    }
}
