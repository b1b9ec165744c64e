//! What `keyfob` says of itself, and of a command line that is wrong.

use crate::daemon::{Answer, Daemon};
use crate::shim::run;

fn unasked() -> Daemon {
    Daemon::start(|_| Answer::nothing())
}

const COMMANDS: [&str; 10] =
    ["token", "login", "logout", "status", "confirm", "setup", "lock", "unlock", "reload", "stop"];

#[test]
fn a_mistake_is_one_line_and_nothing_is_asked() {
    let daemon = unasked();
    for arguments in
        [&[][..], &["tokn"], &["token", "--minttl", "5"], &["token", "a", "b"], &["token", "../stop"]]
    {
        run(&daemon, arguments).assert_failure(2);
    }
    assert_eq!(daemon.asked(), [""; 0]);
}

#[test]
fn every_command_has_a_page_that_begins_with_its_name() {
    let daemon = unasked();
    for command in COMMANDS {
        let page = run(&daemon, &["help", command]);
        assert!(page.stdout.starts_with(&format!("keyfob {command} - ")), "{page:?}");
        assert_eq!(run(&daemon, &[command, "--help"]), page);
        assert_eq!(page.code, Some(0));
    }
    let overview = run(&daemon, &["help"]);
    assert!(overview.stdout.contains("command: [keyfob, token, prod]"), "{overview:?}");
    assert_eq!(run(&daemon, &["--help"]), overview);
}

#[test]
fn help_fits_a_terminal() {
    let daemon = unasked();
    for command in COMMANDS.into_iter().chain(["help"]) {
        for line in run(&daemon, &["help", command]).stdout.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
        }
    }
}

#[test]
fn the_version_is_the_packages() {
    let version = format!("keyfob {}\n", env!("CARGO_PKG_VERSION"));
    run(&unasked(), &["--version"]).assert_success(&version, "");
}
