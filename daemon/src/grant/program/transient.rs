//! Programs outside of a daemon that its unit confines: the service manager starts them, each as a service for the moment.
//!
//! What is forbidden to the daemon is inherited by what it starts, and few programs live with it. The thing to get wrong: the
//! service manager expands what looks like a variable in an argument, and shows a service by its description. So every
//! `$` is doubled, values of variables stay out of the arguments, and the description names nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::grant::program::{Environment, Error, LIMIT};

/// What starts a service for the moment and lends it our standard streams.
pub(super) const STARTER: &str = "systemd-run";

/// What such a service may do: as long as a program may run, then nothing of it is left; as much as a command line tool needs.
const PROPERTIES: [&str; 6] = [
    "KillMode=control-group",
    "KillSignal=SIGKILL",
    "TasksMax=64",
    "LimitCORE=0",
    "UMask=0077",
    "WorkingDirectory=/",
];

/// A file that anybody may run.
const EXECUTABLE: u32 = 0o111;

/// Returns the command line that runs a program outside.
pub(super) fn command_line(argv: &[String], environment: &Environment) -> Result<Vec<OsString>, Error> {
    let (name, arguments) = argv.split_first().ok_or(Error::NoProgram)?;
    // The manager would not tell a program that is not there from one that fails.
    let program = find(name, environment)
        .ok_or_else(|| Error::NotStarted { program: name.clone(), reason: io::ErrorKind::NotFound.into() })?;
    let mut line: Vec<OsString> =
        [STARTER, "--user", "--pipe", "--collect", "--quiet", "--service-type=exec"]
            .map(OsString::from)
            .to_vec();
    line.push("--description=a program that keyfobd asks".into());
    line.push(format!("--property=RuntimeMaxSec={}", LIMIT.as_secs()).into());
    line.extend(PROPERTIES.iter().map(|property| format!("--property={property}").into()));
    line.extend(environment.names().map(|name| {
        let mut option = OsString::from("--setenv=");
        option.push(name);
        option
    }));
    line.push("--".into());
    line.push(program.into_os_string());
    line.extend(arguments.iter().map(|argument| argument.replace('$', "$$").into()));
    Ok(line)
}

/// Finds a program as the system would.
fn find(name: &str, environment: &Environment) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & EXECUTABLE != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    let path = environment.value(OsStr::new("PATH"))?;
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|path| is_program(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let variables = [("PATH", "/nowhere:/usr/bin:/bin"), ("HOME", "/CANARY"), ("SECRET", "CANARY")];
        Environment::from_own(variables.map(|(name, value)| (name.into(), value.into())))
    }

    fn line(argv: &[&str]) -> Result<Vec<String>, Error> {
        let argv: Vec<String> = argv.iter().map(|&argument| argument.to_owned()).collect();
        let line = command_line(&argv, &environment())?;
        Ok(line.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn the_arguments_follow_the_options_and_nothing_in_them_is_a_variable() {
        let line = line(&["env", "--user", "${HOME} $PATH $$ 100%", "-- 'x'"]).unwrap();
        let at = line.iter().position(|argument| argument == "--").unwrap();
        assert!(line[at + 1].ends_with("/env"), "{line:?}");
        assert_eq!(line[at + 2..], ["--user", "$${HOME} $$PATH $$$$ 100%", "-- 'x'"]);
    }

    #[test]
    fn variables_are_named_and_their_values_are_not_in_the_command_line() {
        let line = line(&["env"]).unwrap().join(" ");
        assert!(line.contains("--setenv=HOME") && line.contains("--setenv=PATH"), "{line}");
        assert!(!line.contains("CANARY") && !line.contains("SECRET") && !line.contains('$'), "{line}");
    }

    #[test]
    fn it_ends_with_all_that_it_started_when_its_time_is_over() {
        let line = line(&["env"]).unwrap();
        for option in ["RuntimeMaxSec=30", "KillMode=control-group", "KillSignal=SIGKILL"] {
            assert!(line.contains(&format!("--property={option}")), "{line:?}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        for name in ["keyfob-test-no-such-program", "/nonexistent/program", "/etc/passwd", "/etc"] {
            assert!(
                matches!(line(&[name]), Err(Error::NotStarted { program, .. }) if program == name),
                "{name}"
            );
        }
    }
}
