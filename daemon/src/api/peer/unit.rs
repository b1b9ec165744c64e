//! The systemd unit that a process belongs to, by `/proc/PID/cgroup` (cgroups(7)).
//!
//! A unit can have groups below its own, and a user's own service manager is a unit that others lie below: so the
//! innermost name that is a unit's counts. The thing to get wrong: a service manager puts `_` before a name that the
//! kernel would take for a file of its own.

/// What processes are started in.
const KINDS: [&str; 2] = [".service", ".scope"];

/// Returns the innermost unit that the text of `/proc/PID/cgroup` names.
pub(super) fn of(cgroups: &str) -> Option<String> {
    let groups = || cgroups.lines().filter_map(group);
    let unified = groups().find(|(controllers, _)| controllers.is_empty());
    let named = groups().find(|(controllers, _)| *controllers == "name=systemd");
    // Where both hierarchies are there, systemd may use either.
    [unified, named].into_iter().flatten().find_map(|(_, path)| innermost(path))
}

/// Reads `ID:CONTROLLERS:PATH`.
fn group(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

fn innermost(path: &str) -> Option<String> {
    let is_unit = |name: &&str| {
        KINDS.iter().any(|kind| name.strip_suffix(kind).is_some_and(|before| !before.is_empty()))
    };
    let unescaped = |name: &'_ str| name.strip_prefix('_').unwrap_or(name).to_owned();
    path.rsplit('/').find(is_unit).map(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_unit_counts() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        for (path, unit) in [
            (format!("{user}/app.slice/agent.service"), Some("agent.service")),
            (format!("{user}/app.slice/docker.service/payload/x"), Some("docker.service")),
            (format!("{user}/app.slice/app-org.x@1.service"), Some("app-org.x@1.service")),
            ("/user.slice/user-1000.slice/session-3.scope".to_owned(), Some("session-3.scope")),
            ("/system.slice/_cgroup.x.service".to_owned(), Some("cgroup.x.service")),
            (user.to_owned(), Some("user@1000.service")),
            ("/system.slice/.service".to_owned(), None),
            ("/user.slice".to_owned(), None),
            ("/".to_owned(), None),
            // Its group was removed.
            ("/system.slice/x.service (deleted)".to_owned(), None),
        ] {
            assert_eq!(of(&format!("0::{path}\n")).as_deref(), unit, "{path}");
        }
    }

    #[test]
    fn either_hierarchy_can_name_it() {
        let text = "9:name=systemd:/user.slice/a.service\n4:memory:/b.service\n0::/\n";
        assert_eq!(of(text).as_deref(), Some("a.service"));
        assert_eq!(of("4:memory:/b.service\n0::/c.scope\n").as_deref(), Some("c.scope"));
        for nothing in ["", "0:", "0::", "nonsense\n", "4:memory:/b.service\n"] {
            assert_eq!(of(nothing), None, "{nothing:?}");
        }
    }
}
