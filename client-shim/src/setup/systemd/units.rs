//! The texts of the units, as this machine needs them.
//!
//! The thing to get wrong: systemd starts the daemon with an environment of its own. Directories that variables of the shell
//! move have to be written down, for the daemon and for what it may write to.

use std::path::{Path, PathBuf};

use crate::arguments::setup::Namespaces;
use crate::setup::error::Error;
use crate::setup::surroundings::Surroundings;

/// The unit of the daemon.
pub(super) const SERVICE: &str = "keyfobd.service";

/// The unit of its socket, which is the one that is enabled.
pub(super) const SOCKET: &str = "keyfobd.socket";

/// What is added to the service where users may not have namespaces.
const DROP_IN: &str = "keyfobd.service.d/no-userns.conf";

/// All that may have been written.
pub(super) const NAMES: [&str; 3] = [SERVICE, SOCKET, DROP_IN];

const SERVICE_TEXT: &str = include_str!("../../../../systemd/keyfobd.service");
const SOCKET_TEXT: &str = include_str!("../../../../systemd/keyfobd.socket");
const DROP_IN_TEXT: &str = include_str!("../../../../systemd/no-userns.conf");

/// The line of the service that names the program.
const EXEC_START: &str = "ExecStart=%h/.local/bin/keyfobd";

/// The line of the service before which variables are set.
const BEFORE: &str = "Environment=KEYFOB_UNIT=%n\n";

/// How each unit of ours begins, in every version. Who writes a unit about keyfob may well say so in its first line, too.
const OUR_BEGINNINGS: [&str; 3] =
    ["# The daemon of keyfob. ", "# The socket of keyfob: ", "# For keyfobd on machines "];

/// The base directories that the daemon uses, by variable, with where they are without it.
const BASES: [(&str, &str); 3] =
    [("XDG_CONFIG_HOME", ".config"), ("XDG_STATE_HOME", ".local/state"), ("XDG_DATA_HOME", ".local/share")];

/// A unit file.
pub(super) struct Unit {
    /// Its name in the directory of the user's units.
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Returns the units for this machine.
pub(super) fn all(surroundings: &Surroundings, namespaces: Namespaces) -> Result<Vec<Unit>, Error> {
    let mut units = vec![
        Unit { name: SERVICE, text: service(surroundings)? },
        Unit { name: SOCKET, text: SOCKET_TEXT.to_owned() },
    ];
    match namespaces {
        Namespaces::Own => {}
        Namespaces::None => units.push(Unit { name: DROP_IN, text: DROP_IN_TEXT.to_owned() }),
    }
    Ok(units)
}

/// Tells whether a unit is one that we wrote, in whatever version, or that was copied from ours.
pub(super) fn is_ours(text: &str) -> bool {
    text.is_empty() || OUR_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// Returns the directory of the daemon's state.
pub(super) fn state(surroundings: &Surroundings) -> PathBuf {
    base(surroundings, BASES[1].0, BASES[1].1).join("keyfob")
}

/// Returns a base directory. One that is no full path counts as not set, by the rules of XDG.
pub(super) fn base(surroundings: &Surroundings, variable: &str, usual: &str) -> PathBuf {
    moved(surroundings, variable, usual).unwrap_or_else(|| surroundings.home.join(usual))
}

fn moved(surroundings: &Surroundings, variable: &str, usual: &str) -> Option<PathBuf> {
    let path = surroundings.variable(variable).map(PathBuf::from)?;
    (path.is_absolute() && path != surroundings.home.join(usual)).then_some(path)
}

fn service(surroundings: &Surroundings) -> Result<String, Error> {
    let daemon = surroundings.keyfob.as_ref().map(|keyfob| keyfob.with_file_name("keyfobd"));
    let daemon = daemon.unwrap_or_else(|| PathBuf::from("keyfobd"));
    if !daemon.is_file() {
        return Err(Error::NoDaemon(daemon));
    }
    let mut text =
        SERVICE_TEXT.replace(EXEC_START, &format!("ExecStart={}", word(&daemon, Escape::Dollars)?));
    let mut variables = String::new();
    for (variable, usual) in BASES {
        if let Some(path) = moved(surroundings, variable, usual) {
            let written = word(&path, Escape::Nothing)?;
            variables.push_str(&format!("Environment={}\n", assignment(variable, &written)));
            text = with_path(&text, usual, &path)?;
        }
    }
    if surroundings.variable("KEYFOB_CONFIG").is_some() {
        let config = word(&surroundings.config, Escape::Nothing)?;
        variables.push_str(&format!("Environment={}\n", assignment("KEYFOB_CONFIG", &config)));
    }
    Ok(text.replacen(BEFORE, &format!("{BEFORE}{variables}"), 1))
}

/// Returns a unit in which what is below a base directory that may be written is where that directory was moved to.
fn with_path(text: &str, usual: &str, moved: &Path) -> Result<String, Error> {
    let beginning = format!("ReadWritePaths=-%h/{usual}/");
    let rewritten = text.split_inclusive('\n').map(|line| match line.strip_prefix(&*beginning) {
        Some(below) => {
            let path = PathBuf::from(format!("-{}", moved.join(below.trim_end()).display()));
            Ok(format!("ReadWritePaths={}\n", word(&path, Escape::Nothing)?))
        }
        None => Ok(line.to_owned()),
    });
    rewritten.collect()
}

/// What more than specifiers means something in a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    Nothing,
    /// `$` begins a variable in a command line.
    Dollars,
}

/// Writes a path as one word of a unit.
fn word(path: &Path, escape: Escape) -> Result<String, Error> {
    let text = specifiers(path)?;
    let text = match escape {
        Escape::Nothing => text,
        Escape::Dollars => text.replace('$', "$$"),
    };
    let is_plain = |c: char| c.is_alphanumeric() || "/.-_+,:@%=$~".contains(c);
    if text.chars().all(is_plain) {
        return Ok(text);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Writes the value of a variable, in quotes as a whole where it needs them.
fn assignment(variable: &str, written: &str) -> String {
    match written.strip_prefix('"') {
        Some(rest) => format!("\"{variable}={rest}"),
        None => format!("{variable}={written}"),
    }
}

/// Writes a path so that systemd puts nothing in place of a part of it.
fn specifiers(path: &Path) -> Result<String, Error> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    text.map(|text| text.replace('%', "%%")).ok_or_else(|| Error::Unspeakable(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_and_nothing_in_it_is_replaced() {
        let written = |path: &str, escape| word(Path::new(path), escape).unwrap();
        assert_eq!(written("/home/ann/.local/bin/keyfobd", Escape::Dollars), "/home/ann/.local/bin/keyfobd");
        assert_eq!(written("/o p/100%/$x/\"q\"", Escape::Dollars), r#""/o p/100%%/$$x/\"q\"""#);
        assert_eq!(written("/a$b", Escape::Nothing), "/a$b");
        assert!(word(Path::new("/a\nb"), Escape::Nothing).is_err());
    }

    #[test]
    fn the_service_has_the_lines_that_are_replaced() {
        for line in
            [EXEC_START, BEFORE, "\nReadWritePaths=-%h/.local/state/", "\nReadWritePaths=-%h/.local/share/"]
        {
            assert_eq!(SERVICE_TEXT.matches(line).count(), 1, "{line}");
        }
    }

    #[test]
    fn our_own_units_are_known_as_such() {
        assert!([SERVICE_TEXT, SOCKET_TEXT, DROP_IN_TEXT].into_iter().all(is_ours));
        assert!(!is_ours("[Service]\nExecStart=/opt/keyfob\n"));
        assert!(!is_ours("# My own unit of keyfob\n[Service]\nExecStart=/opt/keyfob\n"));
    }

    #[test]
    fn what_may_be_written_moves_along_whatever_is_in_the_path() {
        let unit = "a\nReadWritePaths=-%h/.local/state/keyfob\nb\n";
        let moved = |path| with_path(unit, ".local/state", Path::new(path)).unwrap();
        assert_eq!(moved("/data"), "a\nReadWritePaths=-/data/keyfob\nb\n");
        assert_eq!(moved("/my data/50%"), "a\nReadWritePaths=\"-/my data/50%%/keyfob\"\nb\n");
    }
}
