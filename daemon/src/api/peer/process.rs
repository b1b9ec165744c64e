//! Who runs a token command, by `/proc` (proc(5)).
//!
//! The thing to get wrong: a shell runs `keyfob token` for a person, or in a loop, without holding on to any token. It
//! asks again because it was told to, not because a server refused something.

use std::fs;

use crate::cache::rejection::Consumer;

/// The name of the token command, as the kernel has it.
const SHIM: &str = "keyfob";

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

/// Returns the parent of a token command, if it can be one that holds on to tokens.
pub(super) fn consumer(peer: i32) -> Option<Consumer> {
    let command = stat(peer).filter(|command| command.name == SHIM)?;
    let consumer = stat(command.parent).filter(is_on_its_own)?;
    Some(Consumer { pid: command.parent, started: consumer.started })
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
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
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
    fn a_process_that_is_no_token_command_or_is_gone_has_no_consumer() {
        assert_eq!(consumer(i32::try_from(std::process::id()).unwrap()), None);
        for nobody in [i32::MAX, 0, 1, -1] {
            assert_eq!(consumer(nobody), None);
        }
    }
}
