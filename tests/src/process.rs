//! A program that runs, what it has written so far, and its end.
//!
//! It is killed when this value is dropped: a story that fails leaves nothing behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::patience::{SOON, found};

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// What a program left when it had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number where a signal ended it, as shells have it.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Whether the system wrote a core, or gave one to a program that takes them.
    pub left_a_core: bool,
}

impl Process {
    pub(crate) fn start(mut command: Command, stdout: PathBuf, stderr: PathBuf) -> Self {
        let file = |path: &PathBuf| File::create(path).expect("a file for the output can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        Self { child, stdout, stderr }
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// Returns what it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Returns what a terminal would show of both, apart from their order.
    pub fn shown(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Tells whether it has ended, and how.
    pub fn ended(&mut self) -> Option<Output> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        let left_a_core = status.core_dumped();
        Some(Output { status: code(status), stdout: self.stdout(), stderr: self.stderr(), left_a_core })
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Panics where it does not end within a minute and a half.
    #[track_caller]
    pub fn wait(&mut self) -> Output {
        let who = format!("the end of process {}", self.id());
        let within = SOON * 4;
        found(within, &who, || self.ended())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child of ours takes our signals");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails where the program has ended already, which is as good.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// Lets this process have as many connections as the system allows: a crowd of clients needs more than the usual 1,024.
///
/// # Panics
/// Panics where the system does not let it.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("a process may raise its own soft limit");
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn read_lossy(path: &PathBuf) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}
