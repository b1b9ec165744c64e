//! `keyfobd --background`: a daemon that outlives the terminal, started without fork.
//!
//! The process that the user starts runs a second one in a session of its own and waits for its word on a pipe. Only
//! then does it exit: so whoever started it can connect at once, and sees why it did not start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What the daemon says when it is ready.
const READY: &[u8] = b"ready\n";

/// Below it are the standard streams.
const FIRST_FOREIGN_DESCRIPTOR: i32 = 3;

/// A log longer than this begins anew at the next start, with the old one kept beside it.
const MAX_LOG: u64 = 1024 * 1024;

/// Why there is no daemon in the background.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub(crate) struct BackgroundError {
    what: String,
    source: io::Error,
}

/// Starts the daemon in the background, and returns the exit code for the foreground.
pub(crate) fn start(log: &Path, arguments: &[&std::ffi::OsStr]) -> Result<ExitCode, BackgroundError> {
    let failed = |what: String| move |source| BackgroundError { what, source };
    let program = std::env::current_exe().map_err(failed("find my own program".to_owned()))?;
    let mut log_file = open_log(log).map_err(failed(format!("write the log {}", log.display())))?;
    let begin = log_file.seek(SeekFrom::End(0)).map_err(failed("read the log's length".to_owned()))?;
    let stderr = log_file.try_clone().map_err(failed("pass on the log".to_owned()))?;
    // A descriptor of whoever started us, such as the lock of a script, must not live as long as the daemon.
    close_fds::set_fds_cloexec(FIRST_FOREIGN_DESCRIPTOR, &[]);
    let mut child = Command::new(&program)
        .arg("--detached")
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(failed(format!("run {}", program.display())))?;
    let mut word = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut word).map_err(failed("hear from the daemon".to_owned()))?;
    }
    if word == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().map_err(failed("wait for the daemon".to_owned()))?;
    repeat_complaint(&mut log_file, begin);
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// Leaves the terminal of whoever started the daemon.
pub(crate) fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Tells the process in the foreground that the daemon is ready, and lets go of it.
pub(crate) fn say_ready() -> io::Result<()> {
    rustix::io::write(rustix::stdio::stdout(), READY)?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(null)?;
    Ok(())
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    if fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
}

/// Shows what the daemon wrote to its log before it ended.
#[expect(clippy::print_stderr, reason = "this is the daemon's word to whoever started it")]
fn repeat_complaint(log: &mut File, begin: u64) {
    let mut complaint = String::new();
    if log.seek(SeekFrom::Start(begin)).and_then(|_| log.read_to_string(&mut complaint)).is_ok() {
        eprint!("{complaint}");
    }
}
