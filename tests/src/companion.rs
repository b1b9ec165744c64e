//! A program that stands beside the daemon in a story and tells, one JSON document a line, what it sees.
//!
//! It ends with its standard input, so that it cannot outlive the tests even if they are killed.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::patience::found;

/// How long an interpreter may take to load its packages while the whole suite competes for two cores.
const START: Duration = Duration::from_secs(60);

/// A program that tells what it sees. It is gone when this is dropped.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    complaints: NamedTempFile,
}

impl Companion {
    /// Starts a program.
    ///
    /// # Panics
    /// Panics where it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let complaints = NamedTempFile::new().unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints.reopen().unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{command:?}: {error}; tests/run.sh installs what the stories need")
            });
        let events = Arc::default();
        let reader = child.stdout.take().map(|stdout| read_into(Arc::clone(&events), stdout));
        Self { stdin: child.stdin.take(), child, events, reader, complaints }
    }

    /// Waits for the first event of this name, and returns it.
    ///
    /// # Panics
    /// Panics with the program's complaints if it does not come.
    pub fn first(&self, name: &str) -> Value {
        let expected = json!({ "event": name });
        found(START, name, || {
            let has_ended = self.reader.as_ref().is_none_or(JoinHandle::is_finished);
            let event = self.matching(&expected).into_iter().next();
            assert!(event.is_some() || !has_ended, "no event {name:?}; {}", self.complaints());
            event
        })
    }

    /// Tells the program something: a line on its standard input.
    ///
    /// # Panics
    /// Panics with the program's complaints if it does not listen.
    pub fn tell(&self, line: &str) {
        let told = self.stdin.as_ref().map(|mut stdin| writeln!(stdin, "{line}"));
        assert!(matches!(told, Some(Ok(()))), "{line:?}: {told:?}; {}", self.complaints());
    }

    /// Returns the events so far that have all of these members.
    pub fn matching(&self, members: &Value) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| has_all(event, members)).cloned().collect()
    }

    /// Tells the program to come to its end, waits for it, and returns its last event.
    ///
    /// # Panics
    /// Panics with the program's complaints where it ends badly.
    pub fn finish(mut self) -> Value {
        drop(self.stdin.take());
        let status = found(START, "the end of a companion", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}; {}", self.complaints());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let events = self.events.lock().unwrap();
        events.last().cloned().unwrap_or_default()
    }

    fn complaints(&self) -> String {
        let text = std::fs::read_to_string(self.complaints.path()).unwrap();
        format!("its standard error:\n{text}")
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It may have ended by itself. Whatever fails here, nobody is left to do anything about it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns a file below `tests/real`.
pub fn source(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("real").join(file)
}

/// Returns a file of those that `tests/real/install.sh` installs.
pub fn installed(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/real").join(file)
}

fn read_into(events: Arc<Mutex<Vec<Value>>>, stdout: ChildStdout) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            events.lock().unwrap().push(event);
        }
    })
}

fn has_all(event: &Value, members: &Value) -> bool {
    members
        .as_object()
        .is_some_and(|members| members.iter().all(|(name, value)| event.get(name) == Some(value)))
}
