//! An external program that prints a secret: no shell, no terminal, a clean environment, and an end.
//!
//! The thing to get wrong: a program may leave children behind that hold its output open. So it leads a process group of
//! its own, and whatever ends the waiting ends the group, and whoever left the group. One that ends as it should may leave
//! an agent behind: that is its own business.

mod mark;
mod transient;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::grant::program::mark::Mark;
use crate::token::failure::Failure;

/// Long enough for a cloud's command line tool to start and ask its server, short enough for who waits.
const LIMIT: Duration = Duration::from_secs(30);

/// Far more than any token or secret has.
const LARGEST_OUTPUT: usize = 64 * 1024;

/// Enough for the message that matters; the rest is read and dropped, so that the program does not block.
const LARGEST_COMPLAINT: usize = 4 * 1024;

/// What a program needs to find its files, its keyring and its agent, and to speak the user's language. Nothing else is
/// passed on: an environment is full of other programs' secrets.
const PASSED_ON: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// The variables that are passed on by how they begin.
const PASSED_ON_PREFIXES: [&str; 2] = ["LC_", "XDG_"];

/// The variable by which our unit says that it confines the daemon: it has the unit's name.
const UNIT: &str = "KEYFOB_UNIT";

/// Where programs run while a unit confines the daemon: `sandbox_exec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxExec {
    /// Outside, each as a service for the moment.
    #[default]
    Transient,
    /// Inside, with all that is forbidden to the daemon.
    Inherit,
}

/// What surrounds the programs that the daemon runs.
#[derive(Clone)]
pub struct Environment {
    variables: Arc<[(OsString, OsString)]>,
    place: Place,
}

/// Where a program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As a child of the daemon.
    Child,
    /// As a child of the service manager.
    Service,
}

impl Environment {
    /// Takes what may be passed on from the daemon's own environment, and whether a unit confines it.
    pub fn from_own(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let is_passed_on = |name: &str| {
            PASSED_ON.contains(&name) || PASSED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        };
        let mut place = Place::Child;
        let passed_on = variables.into_iter().filter(|(name, value)| {
            if name == UNIT && !value.is_empty() {
                place = Place::Service;
            }
            name.to_str().is_some_and(is_passed_on)
        });
        let variables = passed_on.collect();
        Self { variables, place }
    }

    /// Returns the same with the user's choice of where programs run.
    #[must_use]
    pub fn under(self, choice: SandboxExec) -> Self {
        match choice {
            SandboxExec::Transient => self,
            SandboxExec::Inherit => Self { place: Place::Child, ..self },
        }
    }

    fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.variables.iter().map(|(name, _)| name.as_os_str())
    }

    fn value(&self, name: &OsStr) -> Option<&OsStr> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Why a program gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It has no name.
    #[error("the command is empty")]
    NoProgram,
    /// It did not start.
    #[error("cannot run {program}: {reason}")]
    NotStarted {
        /// Its name.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// There is nobody to start it.
    #[error(
        "cannot run {}, which starts programs while a unit confines keyfobd: {reason}; to start them inside of the unit write \
         sandbox_exec = \"inherit\"",
        transient::STARTER
    )]
    NoStarter {
        /// What the system said.
        reason: io::Error,
    },
    /// It did not end.
    #[error("{program} did not end within {limit:?}")]
    TooSlow {
        /// Its name.
        program: String,
        /// How long it had.
        limit: Duration,
    },
    /// It could not be listened to.
    #[error("lost touch with {program}: {reason}")]
    Lost {
        /// Its name.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// It says that it failed.
    #[error("{program} failed ({status}): {complaint}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        complaint: String,
    },
    /// It printed something that is no secret.
    #[error("{program} printed {what}: it should print the secret and nothing else")]
    Unusable {
        /// Its name.
        program: String,
        /// What.
        what: &'static str,
    },
}

impl Error {
    /// Decides what the account should do about it.
    pub(crate) fn classify(&self) -> Failure {
        match self {
            Self::NotStarted { reason, .. } | Self::NoStarter { reason } if is_passing(reason) => {
                Failure::transient(self.to_string())
            }
            Self::NoProgram | Self::Unusable { .. } | Self::NotStarted { .. } | Self::NoStarter { .. } => {
                Failure::misconfigured(self.to_string())
            }
            // A locked password manager and a server that is down look like this.
            Self::Failed { .. } | Self::TooSlow { .. } | Self::Lost { .. } => {
                Failure::transient(self.to_string())
            }
        }
    }
}

/// Tells whether a program did not start for want of something that may be there again soon.
fn is_passing(reason: &io::Error) -> bool {
    let passing = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::TXTBSY];
    passing.iter().any(|errno| reason.raw_os_error() == Some(errno.raw_os_error()))
}

/// Runs a program and returns what it prints, without white space at its end.
pub(crate) async fn output(argv: &[String], environment: &Environment) -> Result<SecretString, Error> {
    output_within(LIMIT, argv, environment).await
}

async fn output_within(
    limit: Duration,
    argv: &[String],
    environment: &Environment,
) -> Result<SecretString, Error> {
    let program = argv.first().ok_or(Error::NoProgram)?.clone();
    let line = match environment.place {
        Place::Child => argv.iter().map(OsString::from).collect(),
        Place::Service => transient::command_line(argv, environment)?,
    };
    let mark = Mark::new().map_err(|reason| Error::NotStarted { program: program.clone(), reason })?;
    let (started, arguments) = line.split_first().ok_or(Error::NoProgram)?;
    let mut command = Command::new(started);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.variables.iter().map(|(name, value)| (name, value)))
        .env(mark::NAME, mark.value())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|reason| match environment.place {
        Place::Child => Error::NotStarted { program: program.clone(), reason },
        Place::Service => Error::NoStarter { reason },
    })?;
    let mut group = Group::of(&child, mark);
    let ended = tokio::time::timeout(limit, end(&mut child))
        .await
        .map_err(|_| Error::TooSlow { program: program.clone(), limit })?
        .map_err(|reason| Error::Lost { program: program.clone(), reason })?;
    group.has_ended();
    if !ended.status.success() {
        let complaint = String::from_utf8_lossy(&ended.complaint);
        let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(Error::Failed { program, status: ended.status, complaint });
    }
    secret(&ended.output).map_err(|what| Error::Unusable { program, what })
}

fn secret(output: &[u8]) -> Result<SecretString, &'static str> {
    if output.len() > LARGEST_OUTPUT {
        return Err("more than 64 KiB");
    }
    match std::str::from_utf8(output).map(str::trim_end) {
        Err(_) => Err("something that is not UTF-8"),
        Ok("") => Err("nothing"),
        Ok(secret) => Ok(secret.into()),
    }
}

struct Ended {
    status: ExitStatus,
    output: Zeroizing<Vec<u8>>,
    complaint: Zeroizing<Vec<u8>>,
}

async fn end(child: &mut Child) -> io::Result<Ended> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, complaint) =
        tokio::try_join!(read(stdout, LARGEST_OUTPUT + 1), read(stderr, LARGEST_COMPLAINT))?;
    Ok(Ended { status: child.wait().await?, output, complaint })
}

/// Reads to the end and keeps the beginning.
async fn read(source: Option<impl AsyncRead + Unpin>, keep: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(keep));
    let mut source = source.ok_or(io::ErrorKind::BrokenPipe)?;
    let mut part = Zeroizing::new([0; 4096]);
    loop {
        match source.read(part.as_mut_slice()).await? {
            0 => return Ok(kept),
            length => {
                let room = keep - kept.len();
                kept.extend_from_slice(&part[..length.min(room)]);
            }
        }
    }
}

/// The process group of a program, ended with all its descendants when this is dropped before the program has ended.
struct Group {
    leader: Option<Pid>,
    mark: Mark,
}

impl Group {
    fn of(child: &Child, mark: Mark) -> Self {
        Self { leader: child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw), mark }
    }

    /// The program has ended by itself; its number may soon be another's.
    fn has_ended(&mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        if let Err(error) = kill_process_group(leader, Signal::KILL) {
            tracing::debug!(%error, "a program's process group could not be ended");
        }
        self.mark.end_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn environment() -> Environment {
        let variables = [("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("AWS_SECRET_ACCESS_KEY", "CANARY")];
        Environment::from_own(variables.map(|(name, value)| (name.into(), value.into())))
    }

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn printed(script: &str) -> Result<String, Error> {
        output(&sh(script), &environment()).await.map(|secret| secret.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn the_secret_is_what_is_printed_without_white_space_at_its_end() {
        assert_eq!(printed(r"printf ' se cret \r\n\n'").await.unwrap(), " se cret");
        assert_eq!(printed("cat; echo end-of-input").await.unwrap(), "end-of-input");
    }

    #[tokio::test]
    async fn arguments_reach_the_program_as_they_are() {
        let argv = ["printf", "%s", "$HOME; `id` \"x\""].map(str::to_owned);
        let secret = output(&argv, &environment()).await.unwrap();
        assert_eq!(secret.expose_secret(), "$HOME; `id` \"x\"");
    }

    #[tokio::test]
    async fn other_programs_secrets_are_not_passed_on() {
        let names = printed("env | cut -d= -f1 | sort | tr '\\n' ' '").await.unwrap();
        assert!(names.contains("PATH") && names.contains("LC_ALL"), "{names}");
        assert!(!names.contains("AWS_SECRET_ACCESS_KEY") && !names.contains("CARGO"), "{names}");
        assert!(!format!("{:?}", environment()).contains("/usr/bin"));
    }

    #[tokio::test]
    async fn a_complaint_reaches_the_message_in_one_line() {
        let error =
            printed("echo CANARY; printf 'vault is\\n locked\\033[2J' >&2; exit 3").await.unwrap_err();
        let failure = error.classify();
        assert!(matches!(failure, Failure::Transient { .. }));
        assert_eq!(failure.to_string(), "sh failed (exit status: 3): vault is locked[2J");
    }

    #[tokio::test]
    async fn a_flood_of_complaints_neither_blocks_nor_fills_memory() {
        let error = printed("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").await.unwrap_err();
        let Error::Failed { complaint, .. } = error else { panic!("{error}") };
        assert_eq!(complaint.len(), LARGEST_COMPLAINT);
    }

    #[tokio::test]
    async fn what_is_no_secret_is_a_mistake_in_the_settings() {
        for script in ["head -c 70000 /dev/zero | tr '\\0' x", "true", "printf '\\n'", "printf '\\377'"] {
            let failure = printed(script).await.unwrap_err().classify();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{script}: {failure}");
        }
        for argv in [vec![], vec!["/nonexistent/program".to_owned()], vec!["/etc/hostname".to_owned()]] {
            let failure = output(&argv, &environment()).await.unwrap_err().classify();
            assert!(matches!(failure, Failure::Misconfigured { .. }), "{argv:?}: {failure}");
        }
    }

    #[test]
    fn a_machine_that_is_short_of_something_is_no_mistake_in_the_settings() {
        let failure = |errno: Errno| {
            Error::NotStarted { program: "gcloud".to_owned(), reason: errno.into() }.classify()
        };
        assert!(matches!(failure(Errno::MFILE), Failure::Transient { .. }));
        assert!(matches!(failure(Errno::NOENT), Failure::Misconfigured { .. }));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended_with_all_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = sh(&format!("sleep 1000 & echo $! > {}; wait", file.display()));
        let error = output_within(Duration::from_millis(500), &script, &environment()).await.unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        assert!(matches!(error.classify(), Failure::Transient { .. }));
        ends(&file).await;
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended_with_those_that_left_its_group_l12() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        // The parent is gone, the session is another one, and nobody heeds a polite signal; the output stays open.
        let daemon = format!("trap '' TERM; echo $$ > {}; while :; do sleep 1000; done", file.display());
        let script = sh(&format!("(setsid sh -c \"{}\" &) ; echo token", daemon.replace('$', "\\$")));
        let error = output_within(Duration::from_secs(2), &script, &environment()).await.unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        ends(&file).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_when_it_ends_as_it_should_lives_on_l12() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let agent = format!("sleep 1000 >/dev/null 2>&1 & echo $! > {}", file.display());
        assert_eq!(printed(&format!("{agent}; echo token")).await.unwrap(), "token");
        let agent = Pid::from_raw(fs::read_to_string(&file).unwrap().trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(agent, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn a_program_nobody_waits_for_is_ended_with_all_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = sh(&format!("sleep 1000 & echo $! > {}; wait", file.display()));
        let waiting = tokio::spawn(async move { output(&script, &environment()).await });
        until(|| fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))).await;
        waiting.abort();
        ends(&file).await;
    }

    async fn ends(file: &Path) {
        let pid = fs::read_to_string(file).unwrap().trim().to_owned();
        until(|| match fs::read_to_string(format!("/proc/{pid}/stat")) {
            // Dead, and nobody has asked for its status yet.
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        })
        .await;
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it should come true");
    }
}
