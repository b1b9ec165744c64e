//! Opens a page in the browser of a desktop session.
//!
//! The page's address comes from an issuer. The thing to get wrong: an address that reaches a shell, or that a program
//! takes for an option. So it is judged first, begins with its scheme, and is one argument of a program that is run
//! without a shell. Nothing depends on it: the address is always printed too.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::display;
use crate::environment::Person;

/// What opens a page in the browser that a person has chosen, in the order of trying.
const OPENERS: [&[&str]; 4] = [&["xdg-open"], &["x-www-browser"], &["www-browser"], &["gio", "open"]];

/// Where a person sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// In front of this machine's desktop.
    Desktop,
    /// In front of another machine.
    Ssh,
    /// Nobody knows: a container, a text console.
    Unknown,
}

impl Seat {
    /// Finds out where the person sits. A display over SSH is the display of another machine.
    pub(crate) fn of(person: &Person) -> Self {
        if person.is_ssh {
            Self::Ssh
        } else if person.has_display {
            Self::Desktop
        } else {
            Self::Unknown
        }
    }
}

/// Opens a page, and does not wait for it. Tells whether a program took it; what the program makes of it nobody knows.
pub(crate) fn open(page: &str, person: &Person) -> bool {
    let Some(page) = display::link(page) else {
        return false;
    };
    let named = person.browser.iter().flat_map(programs).map(|program| vec![program]);
    let openers = OPENERS.iter().map(|words| words.iter().map(OsStr::new).collect());
    named.chain(openers).any(|words| start(&words, page))
}

/// Returns the programs that `BROWSER` names: a list with colons. An entry with arguments is a line for a shell, and is
/// left alone.
fn programs(browser: &OsString) -> impl Iterator<Item = &OsStr> {
    let is_program = |entry: &&[u8]| {
        !entry.is_empty()
            && !entry.starts_with(b"-")
            && !entry.iter().any(|&byte| byte.is_ascii_whitespace() || byte == b'%')
    };
    browser.as_bytes().split(|&byte| byte == b':').filter(is_program).map(OsStr::from_bytes)
}

/// Starts a program that Ctrl-C and the end of ours leave alone.
fn start(words: &[&OsStr], page: &str) -> bool {
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_over_ssh_is_not_in_front_of_this_machine() {
        let seat = |is_ssh, has_display| Seat::of(&Person { is_ssh, has_display, ..Person::default() });
        assert_eq!(seat(false, true), Seat::Desktop);
        assert_eq!(seat(true, true), Seat::Ssh);
        assert_eq!(seat(true, false), Seat::Ssh);
        assert_eq!(seat(false, false), Seat::Unknown);
    }

    #[test]
    fn browser_names_programs_and_never_a_line_for_a_shell() {
        let list = OsString::from("firefox:/opt/my-browser::w3m %s:chromium --new-tab:-x:x\t;id");
        assert_eq!(programs(&list).collect::<Vec<_>>(), ["firefox", "/opt/my-browser"]);
    }

    #[test]
    fn a_page_that_is_not_safe_reaches_no_program_a6() {
        let person = Person { browser: Some("true".into()), ..Person::default() };
        assert!(open("https://issuer.example/authorize?a=b&c=d", &person));
        for page in
            ["--help", "file:///etc/passwd", "http://evil.example/", "https://a/$(id)", "https://a/ b", ""]
        {
            assert!(!open(page, &person), "{page}");
        }
    }
}
