//! Arguments, environment, wiring, exit code. The only reader of the environment.
//!
//! The order matters: other programs are shut out before anything else, the environment wiped and inherited sockets taken
//! before there are threads, the store's lock before the socket, the socket before anybody is told that we are ready.

#![forbid(unsafe_code)]

#[path = "main/arguments.rs"]
mod arguments;
#[path = "main/background.rs"]
mod background;
#[path = "main/hardening.rs"]
mod hardening;
#[path = "main/inherited.rs"]
mod inherited;
#[path = "main/logging.rs"]
mod logging;
#[path = "main/notification.rs"]
mod notification;
#[path = "main/service.rs"]
mod service;
#[path = "main/watchdog.rs"]
mod watchdog;

use std::alloc::System;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use keyfob_daemon::account::{Account, Means};
use keyfob_daemon::api::socket::{self, OwnSocket};
use keyfob_daemon::cache::TokenCache;
use keyfob_daemon::clock::Clock;
use keyfob_daemon::config::environment::Environment;
use keyfob_daemon::config::{Config, ConfigError};
use keyfob_daemon::flyte::discovery::Discoveries;
use keyfob_daemon::flyte::keyring::Keyrings;
use keyfob_daemon::grant::binding::Lessons;
use keyfob_daemon::grant::program;
use keyfob_daemon::oauth::http::Http;
use keyfob_daemon::oauth::transport::Transport;
use keyfob_daemon::store::{Location, OpenError, Sources, Store};
use keyfob_daemon::token::failure::told;
use keyfob_protocol::paths::Paths;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use zeroizing_alloc::ZeroAlloc;

use arguments::Arguments;
use logging::Style;
use service::Service;
use watchdog::{Maker, Served, Watch};

/// Overwrites what is freed: the copies of tokens that libraries leave in their buffers are out of our reach by then.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The name of the store's key among the credentials that systemd hands over.
const KEY_CREDENTIAL: &str = "keyfob-key";

/// How often, and with which pause, a daemon that came second looks whether the first one answers, or has gone: for 4 s in
/// all, since the first may have to wait for a keyring.
const START_LOOKS: u32 = 200;
const START_PAUSE: Duration = Duration::from_millis(20);

/// How long the process waits at its end for calls that hang, such as one over a bus that does not answer.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// The system stands in the way.
const EXIT_FAILURE: u8 = 1;

/// The configuration has mistakes: `EX_CONFIG` of sysexits, at which systemd does not start the daemon again.
const EXIT_CONFIGURATION: u8 = 78;

/// Whatever keeps the daemon from running, with the exit code that says so.
struct Obstacle {
    code: u8,
    message: String,
}

fn obstacle(code: u8, error: &dyn std::error::Error) -> Obstacle {
    Obstacle { code, message: told(error) }
}

fn failure(error: &dyn std::error::Error) -> Obstacle {
    obstacle(EXIT_FAILURE, error)
}

#[expect(clippy::print_stderr, reason = "before there is a log, and for whoever started the daemon")]
pub(crate) fn main() -> ExitCode {
    let shut = hardening::shut().map_err(|exposed| failure(&exposed));
    match shut.and_then(|()| run(&Arguments::parse())) {
        Ok(code) => code,
        Err(Obstacle { code, message }) => {
            eprintln!("keyfobd: {message}");
            ExitCode::from(code)
        }
    }
}

/// Lists what is wrong with the configuration, a line each below a line of their own.
fn mistakes(error: &ConfigError) -> String {
    match error {
        ConfigError::Unreadable { .. } | ConfigError::Unsafe { .. } => told(error),
        ConfigError::Mistakes(mistakes) => format!("the configuration has mistakes:\n{mistakes}"),
    }
}

/// Lets the daemon have as many connections as the system allows: the soft limit, 1,024 nearly everywhere, is for
/// programs that use `select`, and is what a thousand tools at once would run into. Where that fails it stays as it is.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// What the environment says, read once.
type Variables = BTreeMap<OsString, OsString>;

/// Where everything is.
struct Places {
    paths: Paths,
    socket: PathBuf,
}

/// The configuration, and the environment to read the next one in.
struct Settings {
    config: Config,
    environment: Environment,
}

fn run(arguments: &Arguments) -> Result<ExitCode, Obstacle> {
    let variables = variables();
    #[cfg(feature = "failpoints")]
    arm(&variables)?;
    let places = find(arguments, &variables)?;
    if arguments.background {
        let config = places.paths.config.as_os_str();
        let given = [OsStr::new("--config"), config, OsStr::new("--socket"), places.socket.as_os_str()];
        return background::start(&places.paths.log, &given).map_err(|error| failure(&error));
    }
    let environment: Environment = variables.clone().into_iter().collect();
    let config = Config::read(&places.paths.config, &environment)
        .map_err(|error| Obstacle { code: EXIT_CONFIGURATION, message: mistakes(&error) })?;
    if arguments.check {
        return Ok(confirm(&places.paths.config, &config));
    }
    let style = Style::of_stderr(variables.get(OsStr::new("JOURNAL_STREAM")).map(OsString::as_os_str));
    let level = variables.get(OsStr::new("KEYFOB_LOG"));
    logging::start(level.map(OsString::as_os_str), style).map_err(|error| failure(&error))?;
    hardening::forget(&environment.secret_names());
    if arguments.detached {
        background::leave_session().map_err(|error| failure(&error))?;
    }
    serve(arguments, &places, Settings { config, environment }, variables)
}

/// Puts the plan of a test in force.
#[cfg(feature = "failpoints")]
fn arm(variables: &Variables) -> Result<(), Obstacle> {
    let plan = variables.get(OsStr::new("KEYFOB_FAILPOINTS")).map(|plan| plan.to_string_lossy());
    let plan = plan.unwrap_or_default().parse().map_err(|error| failure(&error))?;
    keyfob_daemon::failpoint::arm(plan);
    Ok(())
}

/// Says that a configuration has no mistake, and what it comes to.
#[expect(clippy::print_stdout, reason = "this is what --check was asked for")]
fn confirm(path: &Path, config: &Config) -> ExitCode {
    println!("{} has no mistake; accounts: {}", path.display(), config.accounts.len());
    ExitCode::SUCCESS
}

/// Opens what the daemon works on, and serves until it is told to stop.
fn serve(
    arguments: &Arguments,
    places: &Places,
    settings: Settings,
    variables: Variables,
) -> Result<ExitCode, Obstacle> {
    let Settings { config, environment } = settings;
    raise_descriptor_limit();
    let variable = |name: &str| variables.get(OsStr::new(name)).map(OsString::as_os_str);
    let inherited = inherited::take(variable).map_err(|error| failure(&error))?;
    let (inherited, custodian) = inherited.part(variable("NOTIFY_SOCKET"));
    let watch = watchdog::interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
    let watch =
        watch.map(|interval| Watch { interval, socket: served_at(inherited.as_ref(), &places.socket) });
    let clock = Clock::system();
    let credential = variables.get(OsStr::new("CREDENTIALS_DIRECTORY"));
    let location = Location { state: places.paths.state.clone(), spill: places.paths.spill.clone() };
    let open = || {
        let credential = credential.map(|directory| Path::new(directory).join(KEY_CREDENTIAL));
        Store::open(&location, config.store, Sources::of_the_system(credential), clock.clone())
    };
    // What systemd listens at can be connected to, whoever answers there, or nobody.
    let is_answered = || inherited.is_none() && socket::answers(&places.socket);
    let mut store = match open_in_turn(open, is_answered) {
        Ok(store) => store,
        Err(OpenError::InUse { pid, .. }) if is_answered() => {
            return Ok(already_running(arguments, &places.socket, pid));
        }
        Err(error) => return Err(failure(&error)),
    };
    store.entrust_to(custodian);
    let directory =
        |name: &str| variables.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let keyrings = Keyrings::new(directory("HOME"), directory("XDG_DATA_HOME"));
    let means = Means {
        http: Http::of(&Transport::default()),
        clock: clock.clone(),
        environment: program::Environment::from_own(variables).under(config.sandbox_exec),
        flyte: Discoveries::new(&places.paths.state, clock.clone()),
        lessons: Lessons::default(),
    };
    let sources = Box::new(move |account: &Account| account.source(&means));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failure(&error))?;
    let served = runtime.block_on(async {
        let socket = match inherited {
            Some(listener) => OwnSocket::inherit(listener).map_err(|error| failure(&error))?,
            None => OwnSocket::bind(&places.socket).map_err(|error| failure(&error))?,
        };
        let cache = TokenCache::new(Arc::new(store), sources, clock);
        let is_detached = arguments.detached;
        let when_ready = Box::new(move || if is_detached { background::say_ready() } else { Ok(()) });
        let config_path = places.paths.config.clone();
        service::run(Service { cache, config, socket, config_path, environment, keyrings, watch, when_ready })
            .await
    });
    runtime.shutdown_timeout(LAST_CALLS);
    served.map(|()| ExitCode::SUCCESS)
}

/// Returns where clients connect: to the socket that systemd made, else to ours.
fn served_at(inherited: Option<&UnixListener>, own: &Path) -> Served {
    let maker = if inherited.is_some() { Maker::Systemd } else { Maker::Us };
    let address = inherited.and_then(|listener| listener.local_addr().ok());
    let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(own).to_owned();
    Served { path, maker }
}

/// Opens the store. Where another process has the lock, waits until a daemon answers, which may have started a moment before
/// us, or until the lock is free: a program that looks at all files may have had it for a moment.
#[expect(clippy::disallowed_methods, reason = "there is no event to wait for, and nothing else to do")]
fn open_in_turn(
    open: impl Fn() -> Result<Store, OpenError>,
    is_answered: impl Fn() -> bool,
) -> Result<Store, OpenError> {
    for look in 1..START_LOOKS {
        match open() {
            Err(OpenError::InUse { directory, .. }) if !is_answered() => {
                if look == 1 {
                    tracing::info!(directory = %directory.display(), "waiting for another process, which has locked it");
                }
                std::thread::sleep(START_PAUSE);
            }
            opened => return opened,
        }
    }
    open()
}

/// Says that there is nothing to do. That is a success: what was wanted is there.
#[expect(clippy::print_stderr, reason = "this is the daemon's word to whoever started it")]
fn already_running(arguments: &Arguments, socket: &Path, pid: Option<u32>) -> ExitCode {
    let pid = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    eprintln!("keyfobd: a daemon{pid} answers at {} already", socket.display());
    if arguments.detached {
        // Whoever started us in the background has what they want.
        drop(background::say_ready());
    }
    ExitCode::SUCCESS
}

fn find(arguments: &Arguments, variables: &Variables) -> Result<Places, Obstacle> {
    let given = |argument: &Option<PathBuf>, name: &str| {
        argument.clone().map(OsString::from).or_else(|| variables.get(OsStr::new(name)).cloned())
    };
    let paths = Paths::find(given(&arguments.config, "KEYFOB_CONFIG")).map_err(|error| failure(&error))?;
    let socket = keyfob_protocol::socket::find(given(&arguments.socket, "KEYFOB_SOCKET"))
        .map_err(|error| failure(&error))?;
    // A daemon in the background runs in another directory than whoever names these.
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| failure(&error));
    let paths = Paths { config: absolute(&paths.config)?, ..paths };
    Ok(Places { paths, socket: absolute(&socket)? })
}

/// Reads the environment.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn variables() -> Variables {
    std::env::vars_os().collect()
}
