//! Who may have an account's tokens, and for what: settings, and the decision about one program that asks.
//!
//! It keeps honest programs apart from each other. It is no boundary against a program of the same user that sets out
//! to deceive, which can run a listed program, or trace it. The thing to get wrong: what cannot be seen of a program
//! must never count as a match.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::token::Scope;
use crate::token::failure::Message;

/// Who may have an account's tokens. Each restriction that is there must be met; without any, every program of the user
/// may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The programs that may ask, if not all.
    pub programs: Option<Vec<Allowed>>,
    /// The systemd units that may ask, if not all.
    pub units: Option<Vec<String>>,
    /// What a token may be good for at most, if that is limited.
    pub scopes: Option<Scope>,
    /// Whether whoever meets the rest gets one.
    pub access: Access,
}

/// Whether programs get tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Without a word.
    #[default]
    Allow,
    /// Once a person has agreed.
    Confirm,
    /// Not at all.
    Deny,
}

/// A program, or all that lie below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The program, as it is written, and as it was found when the configuration was read, all links followed.
    Program(PathBuf, Option<PathBuf>),
    /// The same with a directory.
    Below(PathBuf, Option<PathBuf>),
}

/// What asks for a token, as the system shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// Its pid, where the system tells it.
    pub pid: Option<i32>,
    /// What it runs.
    pub program: Program,
    /// The systemd unit that it was started in.
    pub unit: Option<String>,
}

/// What a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// This file, as the kernel names it.
    File(PathBuf),
    /// What the kernel names like this, and that is another file or none for us: it was replaced since the program was
    /// started, or the program sees other files, as in a container.
    Elsewhere(PathBuf),
    /// It cannot be seen; only what the process calls itself, if that.
    Unseen(Option<String>),
}

/// Why a program gets no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// Nobody does.
    Deny,
    /// It is not among those that may ask.
    Program,
    /// What it runs is not the file of that name, and only some may ask.
    Elsewhere,
    /// It cannot be seen, and only some may ask.
    Unseen,
    /// It runs in a unit that may not ask, or in none.
    Unit,
    /// The token would be good for this beyond what it may be good for.
    Scope(Scope),
    /// Nobody says what the token is good for, and it may be good for some things only.
    UnknownScope,
}

impl Policy {
    /// Tells whether anything depends on which program asks.
    pub fn minds_who_asks(&self) -> bool {
        self.programs.is_some() || self.units.is_some() || self.access == Access::Confirm
    }

    /// Decides whether a program may ask for a token, if a person agrees where one has to.
    ///
    /// # Errors
    /// Says what it does not meet.
    pub fn admits(&self, asker: &Asker) -> Result<(), NotAllowed> {
        if self.access == Access::Deny {
            return Err(NotAllowed::Deny);
        }
        if let Some(programs) = &self.programs {
            match &asker.program {
                Program::File(file) if programs.iter().any(|allowed| allowed.has(file)) => {}
                Program::File(_) => return Err(NotAllowed::Program),
                Program::Elsewhere(_) => return Err(NotAllowed::Elsewhere),
                Program::Unseen(_) => return Err(NotAllowed::Unseen),
            }
        }
        if let Some(units) = &self.units {
            let is_listed = asker.unit.as_ref().is_some_and(|unit| units.contains(unit));
            return if is_listed { Ok(()) } else { Err(NotAllowed::Unit) };
        }
        Ok(())
    }

    /// Decides whether a token for a scope may be asked for.
    ///
    /// # Errors
    /// Says what goes beyond what it may be good for.
    pub fn admits_request(&self, scope: &Scope) -> Result<(), NotAllowed> {
        let excess = self.scopes.as_ref().map(|most| scope.beyond(most)).unwrap_or_default();
        if excess.is_empty() { Ok(()) } else { Err(NotAllowed::Scope(excess)) }
    }

    /// Decides whether a token may be handed out that was granted a scope.
    ///
    /// # Errors
    /// Says what goes beyond what it may be good for, or that nobody knows what it is good for.
    pub fn admits_token(&self, granted: &Scope) -> Result<(), NotAllowed> {
        if self.scopes.is_some() && granted.is_empty() {
            return Err(NotAllowed::UnknownScope);
        }
        self.admits_request(granted)
    }
}

impl Allowed {
    fn has(&self, file: &Path) -> bool {
        let either = |written: &PathBuf, found: &Option<PathBuf>, is: &dyn Fn(&Path) -> bool| {
            is(written) || found.as_deref().is_some_and(is)
        };
        match self {
            Self::Program(written, found) => either(written, found, &|program| file == program),
            Self::Below(written, found) => either(written, found, &|directory| file.starts_with(directory)),
        }
    }
}

impl fmt::Display for Program {
    /// Writes it for people: a file may have any name, and must not steer a terminal or begin a line of a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Elsewhere(path) => Message::from(path.to_string_lossy()).fmt(f),
            // In parentheses: it is only what it calls itself.
            Self::Unseen(Some(name)) => write!(f, "({})", Message::from(name)),
            Self::Unseen(None) => f.write_str("(unknown)"),
        }
    }
}

impl Asker {
    /// Returns a program of which nothing can be seen.
    pub fn unseen(pid: Option<i32>) -> Self {
        Self { pid, program: Program::Unseen(None), unit: None }
    }

    /// Returns its unit for people.
    pub fn shown_unit(&self) -> Option<String> {
        self.unit.as_ref().map(|unit| Message::from(unit).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(file: &str, unit: Option<&str>) -> Asker {
        Asker { pid: Some(7), program: Program::File(file.into()), unit: unit.map(str::to_owned) }
    }

    fn programs(allowed: impl IntoIterator<Item = Allowed>) -> Policy {
        Policy { programs: Some(allowed.into_iter().collect()), ..Policy::default() }
    }

    fn git() -> Allowed {
        Allowed::Program("/usr/bin/git".into(), Some("/opt/git/bin/git".into()))
    }

    fn below() -> Allowed {
        Allowed::Below("/opt/tools".into(), Some("/srv/tools".into()))
    }

    #[test]
    fn without_a_policy_every_program_may_ask_also_one_that_cannot_be_seen() {
        for asker in [asker("/usr/bin/git", None), Asker::unseen(None)] {
            assert_eq!(Policy::default().admits(&asker), Ok(()));
        }
        assert!(!Policy::default().minds_who_asks());
        assert_eq!(Policy::default().admits_token(&Scope::parse("anything")), Ok(()));
        assert_eq!(Policy::default().admits_token(&Scope::default()), Ok(()));
    }

    #[test]
    fn a_list_of_programs_admits_those_alone() {
        let policy = programs([git(), below()]);
        assert!(policy.minds_who_asks());
        for good in ["/usr/bin/git", "/opt/git/bin/git", "/opt/tools/x", "/opt/tools/a/b", "/srv/tools/x"] {
            assert_eq!(policy.admits(&asker(good, None)), Ok(()), "{good}");
        }
        let bad = [
            "/usr/bin/git2",
            "/usr/bin/git (deleted)",
            "/tmp/usr/bin/git",
            "usr/bin/git",
            "/opt/tools2/x",
            "/opt/toolsx",
            "/usr/bin/",
        ];
        for bad in bad {
            assert_eq!(policy.admits(&asker(bad, None)), Err(NotAllowed::Program), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_on_no_list() {
        assert_eq!(programs([below()]).admits(&Asker::unseen(Some(7))), Err(NotAllowed::Unseen));
        // Somebody else's file of that name.
        let elsewhere = Asker { program: Program::Elsewhere("/usr/bin/git".into()), ..asker("", None) };
        assert_eq!(programs([git()]).admits(&elsewhere), Err(NotAllowed::Elsewhere));
        // What a process calls itself is its own choice.
        let named = Asker {
            program: Program::Unseen(Some("/usr/bin/git".to_owned())),
            ..asker("", Some("git.service"))
        };
        assert_eq!(programs([git()]).admits(&named), Err(NotAllowed::Unseen));
    }

    #[test]
    fn a_list_of_units_admits_those_alone_and_both_lists_must_be_met() {
        let units = Some(vec!["agent.service".to_owned()]);
        let policy = Policy { units: units.clone(), ..Policy::default() };
        assert_eq!(policy.admits(&asker("/bin/x", Some("agent.service"))), Ok(()));
        for unit in [None, Some("agent.scope"), Some("other.service"), Some("")] {
            assert_eq!(policy.admits(&asker("/bin/x", unit)), Err(NotAllowed::Unit), "{unit:?}");
        }
        let both = Policy { units, ..programs([git()]) };
        assert_eq!(both.admits(&asker("/usr/bin/git", Some("agent.service"))), Ok(()));
        assert_eq!(both.admits(&asker("/usr/bin/git", None)), Err(NotAllowed::Unit));
        assert_eq!(both.admits(&asker("/bin/x", Some("agent.service"))), Err(NotAllowed::Program));
    }

    #[test]
    fn deny_goes_before_every_list() {
        let policy = Policy { access: Access::Deny, ..programs([git()]) };
        assert_eq!(policy.admits(&asker("/usr/bin/git", None)), Err(NotAllowed::Deny));
        let policy = Policy { access: Access::Confirm, ..programs([git()]) };
        assert_eq!(policy.admits(&asker("/bin/x", None)), Err(NotAllowed::Program));
    }

    #[test]
    fn no_token_is_good_for_more_than_it_may_be() {
        let policy = Policy { scopes: Some(Scope::parse("read list")), ..Policy::default() };
        for good in ["read", "list read"] {
            assert_eq!(policy.admits_token(&Scope::parse(good)), Ok(()), "{good}");
        }
        let excess = Err(NotAllowed::Scope(Scope::parse("write")));
        assert_eq!(policy.admits_token(&Scope::parse("read write")), excess);
        assert_eq!(policy.admits_request(&Scope::parse("write")), excess);
        // Nothing in particular is asked for: what was granted decides.
        assert_eq!(policy.admits_request(&Scope::default()), Ok(()));
        assert_eq!(policy.admits_token(&Scope::default()), Err(NotAllowed::UnknownScope));
    }

    #[test]
    fn the_name_of_a_file_cannot_steer_a_terminal() {
        let shown = asker("/tmp/\u{1b}[2J\nx\u{202e}y", Some("a\u{9b}\n.service"));
        assert_eq!(shown.program.to_string(), "/tmp/[2Jxy");
        assert_eq!(shown.shown_unit().unwrap(), "a.service");
        assert_eq!(Program::Unseen(Some("a\tb".to_owned())).to_string(), "(ab)");
    }
}
