//! Users without privileges, for stories that run as root: what the kernel refuses to a user it does not refuse to root.
//!
//! Where a story does not run as root, its own user is such a one already, and there is no other. The thing to get wrong:
//! the daemon answers its own user alone, so who asks it must be that user, too ([`PlainUser::act`]).

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Users of whom no system has accounts: Debian's policy keeps these for nobody yet (§9.2.2).
const FIRST: u32 = 65_021;
const SECOND: u32 = 65_022;

/// A user of the system without privileges, with a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUser {
    uid: u32,
}

impl PlainUser {
    /// Returns a user without privileges.
    pub fn one() -> Self {
        if geteuid().is_root() { Self { uid: FIRST } } else { Self { uid: geteuid().as_raw() } }
    }

    /// Returns another user than [`PlainUser::one`]; nothing where the story does not run as root.
    pub fn other() -> Option<Self> {
        geteuid().is_root().then_some(Self { uid: SECOND })
    }

    /// Returns the user's number.
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Lets a command run as this user, without groups of ours.
    ///
    /// # Panics
    /// Panics where the user cannot get at the program: a directory above it may be closed to others.
    pub fn run(self, command: &mut Command) {
        if self.is_us() {
            return;
        }
        let program = Path::new(command.get_program());
        let closed =
            program.ancestors().skip(1).find(|directory| directory.is_absolute() && !is_open(directory));
        assert!(
            closed.is_none(),
            "{} is closed to others, but has a program for them",
            closed.unwrap().display()
        );
        // The standard library drops our groups along with the uid.
        command.uid(self.uid).gid(self.uid);
    }

    /// Returns the command that makes another one run as this user, for a script: what it is to run follows.
    pub(crate) fn demotion(self) -> Vec<String> {
        let uid = self.uid;
        let words = format!("setpriv --reuid {uid} --regid {uid} --clear-groups --");
        if self.is_us() { Vec::new() } else { words.split(' ').map(str::to_owned).collect() }
    }

    /// Gives a path to this user.
    ///
    /// # Panics
    /// Panics where the system does not let us.
    pub fn own(self, path: &Path) {
        if !self.is_us() {
            chown(path, Some(self.uid), Some(self.uid)).expect("root can give away its own");
        }
    }

    /// Does something in this process as this user: connects, opens and looks as such, in a thread of its own. What it
    /// opens stays good afterwards.
    ///
    /// # Panics
    /// Panics where that does.
    pub fn act<T: Send>(self, action: impl FnOnce() -> T + Send) -> T {
        if self.is_us() {
            return action();
        }
        let acted = thread::scope(|scope| {
            let acting = scope.spawn(|| {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.uid));
                set_thread_groups(&[]).expect("root can leave its groups");
                set_thread_res_gid(gid, gid, gid).expect("root can take any group");
                // The thread ends with it, so there is no way back to be kept open.
                set_thread_res_uid(uid, uid, uid).expect("root can become anybody");
                action()
            });
            acting.join()
        });
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn is_us(self) -> bool {
        geteuid().as_raw() == self.uid
    }
}

/// Tells whether everybody can get through a directory.
fn is_open(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_user_is_one_in_a_thread_and_in_a_program_and_we_stay_who_we_are() {
        let (user, us) = (PlainUser::one(), geteuid());
        assert_ne!(user.uid(), 0);
        assert_eq!(user.act(|| geteuid().as_raw()), user.uid());
        let mut id = Command::new("id");
        user.run(id.arg("-u"));
        assert_eq!(String::from_utf8(id.output().unwrap().stdout).unwrap().trim(), user.uid().to_string());
        assert_eq!(geteuid(), us);
        let files = tempfile::tempdir().unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(us.is_root() == user.act(|| fs::read_dir(files.path()).is_err()));
        user.own(files.path());
        assert!(user.act(|| fs::read_dir(files.path()).is_ok()));
    }

    #[test]
    fn two_plain_users_are_not_the_same() {
        assert_eq!(PlainUser::other().is_some(), geteuid().is_root());
        assert_ne!(PlainUser::other(), Some(PlainUser::one()));
    }
}
