//! A process as it is seen: what it runs, in which unit, and who runs a token command, by `/proc` (proc(5)).
//!
//! The thing to get wrong: a shell runs `keyfob token` for a person, or in a loop, without holding on to any token. It
//! asks again because it was told to, not because a server refused something. For a policy it is a program like another.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Purpose, Seen, unit};
use crate::account::policy::{Asker, Program};
use crate::cache::rejection::Consumer;

/// The name of the token command, as the kernel has it.
const SHIM: &str = "keyfob";

/// The longest text that is read: more than the groups of a process come to, unless its own is nested very deep.
const MAX_TEXT: usize = 8 * 1024;

/// What asks again without having been refused: shells, and programs that run commands by somebody else's order.
const ORDERED: [&str; 26] = [
    "ash",
    "bash",
    "busybox",
    "csh",
    "dash",
    "elvish",
    "fish",
    "ksh",
    "ksh93",
    "mksh",
    "nu",
    "pwsh",
    "rbash",
    "sh",
    "tcsh",
    "xonsh",
    "yash",
    "zsh",
    "gmake",
    "make",
    "just",
    "screen",
    "tmux",
    "tmux: server",
    "watch",
    "xargs",
];

/// What `/proc/PID/stat` says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: i32,
    started: u64,
}

/// Holds on to the process that connected. Where the kernel cannot do that by the socket (before Linux 6.5), by the pid,
/// which is the same process's still, unless it ended right after it had connected and so many others began since.
pub(super) fn hold(socket: &impl AsFd, pid: i32) -> Option<OwnedFd> {
    let by_pid = || pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok();
    getsockopt(socket, PeerPidfd).ok().or_else(by_pid)
}

/// Tells whether a process has not ended.
pub(super) fn lives(process: &OwnedFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&at_once)) == Ok(0)
}

/// Returns a process as it is seen.
pub(super) fn itself(pid: i32, purpose: Purpose) -> Asker {
    let name = || stat(pid).map(|process| process.name);
    Asker { pid: Some(pid), program: program(pid, purpose, name), unit: unit(pid) }
}

/// Returns who runs a token command, if that is what a process is. It counts by its name: whoever calls itself so is
/// judged by the program that runs it, and so has nothing from it that the token command would not give it.
pub(super) fn behind(command: i32, purpose: Purpose) -> Option<Seen> {
    let is_command = |process: &Stat| process.name == SHIM;
    let parent = stat(command).filter(is_command)?.parent;
    let process = stat(parent);
    let name = || process.as_ref().map(|process| process.name.clone());
    // The unit is that of the command, which a service manager may run itself.
    let asker = Asker { pid: Some(parent), program: program(parent, purpose, name), unit: unit(command) };
    // Had the parent ended in the meantime, the command would have another.
    let is_same = || stat(command).is_some_and(|now| is_command(&now) && now.parent == parent);
    if purpose == Purpose::Policy && !is_same() {
        return Some(Seen { asker: Asker::unseen(Some(parent)), consumer: None });
    }
    let consumer = process.filter(is_on_its_own).map(|it| Consumer { pid: parent, started: it.started });
    Some(Seen { asker, consumer })
}

/// Returns what a process runs; its name where that is hidden, as it is where its user namespace is not ours.
fn program(pid: i32, purpose: Purpose, name: impl FnOnce() -> Option<String>) -> Program {
    let link = PathBuf::from(format!("/proc/{pid}/exe"));
    let Ok(path) = fs::read_link(&link) else { return Program::Unseen(name()) };
    let file = |path: &PathBuf| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let is_that_file = || file(&link).is_some_and(|running| file(&path) == Some(running));
    if purpose == Purpose::Audit || is_that_file() { Program::File(path) } else { Program::Elsewhere(path) }
}

fn unit(pid: i32) -> Option<String> {
    unit::of(&text(&format!("/proc/{pid}/cgroup"))?)
}

/// Tells whether a process acts on its own, and is not the one that inherits orphans.
fn is_on_its_own(process: &Stat) -> bool {
    // A login shell has a dash before its name.
    !ORDERED.contains(&process.name.trim_start_matches('-')) && process.parent > 0
}

/// Returns nothing where the process has ended, or is hidden: it may be in another namespace.
fn stat(pid: i32) -> Option<Stat> {
    if pid <= 1 {
        return None;
    }
    parse(&text(&format!("/proc/{pid}/stat"))?)
}

/// Reads a file of `/proc`, which comes in one piece: the usual way of reading asks for its size and its end besides.
fn text(path: &str) -> Option<String> {
    let mut buffer = [0; MAX_TEXT];
    let length = File::open(path).and_then(|mut file| file.read(&mut buffer)).ok()?;
    // What is cut off could end in another word.
    (length < MAX_TEXT).then(|| String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A name can hold anything, also parentheses and spaces: it ends with the last parenthesis.
fn parse(stat: &str) -> Option<Stat> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    // Field 3 is the first one here; the parent is field 4, the start field 22.
    let mut fields = after.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { name, parent, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "4242 (tmux: (a) b) S 41 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 20";

    #[test]
    fn a_stat_is_read_whatever_the_name() {
        let expected = Stat { name: "tmux: (a) b".to_owned(), parent: 41, started: 987_654 };
        assert_eq!(parse(STAT), Some(expected));
        for bad in ["", "1", "1 (x", "1 (x)", "1 (x) S 1", &STAT.replace("987654", "soon")] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_shell_is_no_consumer_whether_it_is_for_logins_or_not() {
        let named = |name: &str| Stat { name: name.to_owned(), parent: 41, started: 1 };
        for shell in ["bash", "-bash", "zsh", "sh", "tmux: server", "make"] {
            assert!(!is_on_its_own(&named(shell)), "{shell}");
        }
        for tool in ["python3", "kubectl", "flytectl", "shark"] {
            assert!(is_on_its_own(&named(tool)), "{tool}");
        }
    }

    #[test]
    fn a_process_that_is_no_token_command_or_is_gone_has_nobody_behind_it() {
        assert!(behind(own_pid(), Purpose::Policy).is_none());
        for nobody in [i32::MAX, 0, 1, -1] {
            assert!(behind(nobody, Purpose::Policy).is_none());
        }
    }

    #[test]
    fn a_process_is_seen_with_its_file_and_one_that_is_gone_is_not() {
        let asker = itself(own_pid(), Purpose::Policy);
        assert_eq!(asker.program, Program::File(std::env::current_exe().unwrap()));
        assert_eq!(asker.pid, Some(own_pid()));
        assert_eq!(itself(i32::MAX, Purpose::Policy).program, Program::Unseen(None));
    }

    #[test]
    fn a_program_whose_file_was_replaced_is_not_the_file_that_is_there_now() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("program");
        copy_sleep(&file);
        let mut process = std::process::Command::new(&file).arg("60").spawn().unwrap();
        let pid = i32::try_from(process.id()).unwrap();
        assert_eq!(itself(pid, Purpose::Policy).program, Program::File(file.clone()));
        fs::remove_file(&file).unwrap();
        copy_sleep(&file);
        assert!(
            matches!(itself(pid, Purpose::Policy).program, Program::Elsewhere(_)),
            "{:?}",
            itself(pid, Purpose::Policy)
        );
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn a_socket_holds_on_to_the_process_that_connected() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(lives(&hold(&one, own_pid()).unwrap()));
        let mut process = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(lives(&handle));
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(!lives(&handle));
    }

    /// Not by this process: a program that is open for writing cannot be run, and a child of another test might hold it open.
    fn copy_sleep(to: &PathBuf) {
        assert!(std::process::Command::new("cp").arg("/bin/sleep").arg(to).status().unwrap().success());
    }

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }
}
