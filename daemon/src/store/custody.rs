//! Sealed records that somebody else keeps open for us: for when no directory takes them.
//!
//! A service manager can hold descriptors of a service that does not run. The store knows none: it is given what was
//! kept, and a way to hand over more. The thing to get wrong: to take the older record back before the newer one is
//! handed over, for between the two is a moment in which there is none.

mod frozen;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use keyfob_protocol::account::AccountName;

use crate::store::master_key::locked;
use crate::store::shelf::Shelf;

/// How the name of everything begins that is ours: a socket has another one.
pub const PREFIX: &str = "keyfob-";

/// What stands between an account's name, which cannot have it, and the generation.
const BEFORE_GENERATION: char = '@';

/// Hands an order over.
pub type Messenger = Box<dyn Fn(Order<'_>) -> io::Result<()> + Send + Sync>;

/// Who keeps descriptors while there is no daemon.
pub struct Custodian {
    /// What they kept since an earlier daemon, by name.
    pub kept: Vec<(String, OwnedFd)>,
    /// How to tell them what to do. It fails where nobody listens.
    pub messenger: Messenger,
}

impl Custodian {
    /// Returns one who keeps nothing.
    pub(crate) fn nobody() -> Self {
        let messenger = |_: Order<'_>| Err(io::Error::new(io::ErrorKind::NotConnected, "nobody listens"));
        Self { kept: Vec::new(), messenger: Box::new(messenger) }
    }
}

/// What a custodian is to do.
#[derive(Debug)]
pub enum Order<'a> {
    /// Keep a descriptor under a name.
    Keep {
        /// The name.
        name: &'a str,
        /// The descriptor.
        memory: BorrowedFd<'a>,
    },
    /// Close what is kept under a name.
    Release {
        /// The name.
        name: &'a str,
    },
}

/// The sealed records that a custodian keeps.
pub(crate) struct Custody {
    messenger: Messenger,
    kept: Mutex<BTreeMap<AccountName, Vec<Kept>>>,
}

struct Kept {
    name: String,
    sealed: Vec<u8>,
}

impl Custody {
    /// Reads what was kept. What is none of ours is closed, and given up.
    pub(crate) fn take_over(custodian: Custodian) -> Self {
        let Custodian { kept, messenger } = custodian;
        let custody = Self { messenger, kept: Mutex::default() };
        for (name, descriptor) in kept {
            match read(&name, &descriptor) {
                Ok((account, sealed)) => custody.note(&account, Kept { name, sealed }),
                Err(why) => {
                    tracing::warn!(name, why, "ignored a descriptor that was kept for us");
                    custody.release_name(&name);
                }
            }
        }
        custody
    }

    /// Returns the sealed records that are kept for an account, by name: more than one where a daemon died while it handed
    /// over the next.
    pub(crate) fn sealed(&self, account: &AccountName) -> Vec<(String, Vec<u8>)> {
        let kept = locked(&self.kept);
        let of_account = kept.get(account).into_iter().flatten();
        of_account.map(|kept| (kept.name.clone(), kept.sealed.clone())).collect()
    }

    /// Leaves a record where it is, and does not look at it any more.
    pub(crate) fn ignore(&self, account: &AccountName, name: &str) {
        if let Some(kept) = locked(&self.kept).get_mut(account) {
            kept.retain(|kept| kept.name != name);
        }
    }

    /// Has a sealed record kept for an account, in place of what is.
    ///
    /// # Errors
    /// Fails where nobody keeps descriptors. That they do not say so where they do not want this one cannot be helped.
    pub(crate) fn keep(&self, account: &AccountName, generation: u64, sealed: &[u8]) -> io::Result<()> {
        let name = format!("{PREFIX}{account}{BEFORE_GENERATION}{generation}");
        let memory = frozen::freeze(&name, sealed)?;
        (self.messenger)(Order::Keep { name: &name, memory: memory.as_fd() })?;
        let older = locked(&self.kept).remove(account).unwrap_or_default();
        for older in older.iter().filter(|older| older.name != name) {
            self.release_name(&older.name);
        }
        self.note(account, Kept { name, sealed: sealed.to_vec() });
        Ok(())
    }

    /// Has nothing kept for an account any more.
    pub(crate) fn release(&self, account: &AccountName) {
        for kept in locked(&self.kept).remove(account).unwrap_or_default() {
            self.release_name(&kept.name);
        }
    }

    fn note(&self, account: &AccountName, kept: Kept) {
        locked(&self.kept).entry(account.clone()).or_default().push(kept);
    }

    /// Where nobody hears it, the older record stays: its generation says that it is the older one.
    fn release_name(&self, name: &str) {
        if let Err(error) = (self.messenger)(Order::Release { name }) {
            tracing::debug!(%error, name, "a descriptor stays with who keeps it");
        }
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custody").finish_non_exhaustive()
    }
}

impl fmt::Debug for Custodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custodian").field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// Returns whose record a descriptor holds, and the record.
fn read(name: &str, descriptor: &OwnedFd) -> Result<(AccountName, Vec<u8>), &'static str> {
    let account = account(name).ok_or("its name is none of ours")?;
    Ok((account, frozen::thaw(descriptor, Shelf::LONGEST_FILE)?))
}

fn account(name: &str) -> Option<AccountName> {
    let (account, generation) = name.strip_prefix(PREFIX)?.split_once(BEFORE_GENERATION)?;
    generation.parse::<u64>().ok()?;
    account.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::sync::Arc;

    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use super::*;

    #[test]
    fn what_was_handed_over_comes_back_to_the_next_daemon() {
        let manager = Manager::default();
        let custody = manager.custody();
        custody.keep(&name("prod"), 7, b"seven").unwrap();
        custody.keep(&name("corp.eu"), 3, b"three").unwrap();
        assert_eq!(custody.sealed(&name("prod")), kept("keyfob-prod@7", b"seven"));
        let next = manager.custody();
        assert_eq!(next.sealed(&name("prod")), kept("keyfob-prod@7", b"seven"));
        assert_eq!(next.sealed(&name("corp.eu")), kept("keyfob-corp.eu@3", b"three"));
        assert!(next.sealed(&name("corp")).is_empty());
        next.release(&name("prod"));
        assert!(next.sealed(&name("prod")).is_empty());
        assert_eq!(manager.names(), ["keyfob-corp.eu@3"]);
    }

    #[test]
    fn the_older_record_is_released_only_when_the_newer_one_is_kept() {
        let manager = Manager::default();
        let custody = manager.custody();
        custody.keep(&name("prod"), 7, b"seven").unwrap();
        *locked(&manager.deaf) = true;
        custody.keep(&name("prod"), 8, b"eight").unwrap_err();
        assert_eq!(manager.names(), ["keyfob-prod@7"]);
        assert_eq!(custody.sealed(&name("prod")), kept("keyfob-prod@7", b"seven"));
        *locked(&manager.deaf) = false;
        custody.keep(&name("prod"), 8, b"eight").unwrap();
        assert_eq!(manager.names(), ["keyfob-prod@8"]);
        assert_eq!(*locked(&manager.fewest), Some(1), "for a moment nothing was kept");
    }

    #[test]
    fn what_is_no_sealed_record_of_ours_is_closed_and_given_up() {
        let manager = Manager::default();
        let memory = |seals: SealFlags, length: u64| {
            let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
            let mut file = File::from(fd);
            file.write_all(b"bytes").unwrap();
            file.set_len(length).unwrap();
            fcntl_add_seals(&file, seals).unwrap();
            OwnedFd::from(file)
        };
        let too_long = u64::try_from(Shelf::LONGEST_FILE).unwrap() + 1;
        let writable = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let odd: [(&str, OwnedFd); 9] = [
            ("keyfob-unsealed@1", memory(SealFlags::empty(), 5)),
            ("keyfob-writable@1", memory(writable, 5)),
            ("keyfob-long@1", memory(frozen::FROZEN, too_long)),
            ("keyfob-file@1", tempfile::tempfile().unwrap().into()),
            ("keyfob-directory@1", File::open("/").unwrap().into()),
            ("keyfob-device@1", File::open("/dev/zero").unwrap().into()),
            ("keyfob-../escape@1", memory(frozen::FROZEN, 5)),
            ("keyfob-prod", memory(frozen::FROZEN, 5)),
            ("keyfob-prod@1st", memory(frozen::FROZEN, 5)),
        ];
        let good = ("keyfob-prod@1", memory(frozen::FROZEN, 5));
        for (name, fd) in odd.into_iter().chain([good]) {
            locked(&manager.kept).push((name.to_owned(), fd));
        }
        let custody = manager.custody();
        assert_eq!(locked(&custody.kept).len(), 1);
        assert_eq!(custody.sealed(&name("prod")), kept("keyfob-prod@1", b"bytes"));
        assert_eq!(manager.names(), ["keyfob-prod@1"]);
    }

    #[test]
    fn nothing_is_kept_where_nobody_keeps_descriptors() {
        let manager = Manager::default();
        *locked(&manager.deaf) = true;
        let custody = manager.custody();
        custody.keep(&name("prod"), 7, b"seven").unwrap_err();
        assert!(custody.sealed(&name("prod")).is_empty());
    }

    /// A service manager that keeps descriptors.
    #[derive(Default)]
    struct Manager {
        kept: Arc<Mutex<Vec<(String, OwnedFd)>>>,
        deaf: Arc<Mutex<bool>>,
        /// How many there were at the least after any order.
        fewest: Arc<Mutex<Option<usize>>>,
    }

    impl Manager {
        /// Starts the next daemon.
        fn custody(&self) -> Custody {
            let copies = locked(&self.kept);
            let kept = copies.iter().map(|(name, fd)| (name.clone(), fd.try_clone().unwrap())).collect();
            drop(copies);
            let (ours, deaf, fewest) =
                (Arc::clone(&self.kept), Arc::clone(&self.deaf), Arc::clone(&self.fewest));
            let messenger = move |order: Order<'_>| {
                if *locked(&deaf) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                match order {
                    Order::Keep { name, memory } => {
                        locked(&ours).push((name.to_owned(), memory.try_clone_to_owned().unwrap()));
                    }
                    Order::Release { name } => locked(&ours).retain(|(known, _)| known != name),
                }
                let (count, mut fewest) = (locked(&ours).len(), locked(&fewest));
                *fewest = Some(fewest.map_or(count, |before| before.min(count)));
                Ok(())
            };
            Custody::take_over(Custodian { kept, messenger: Box::new(messenger) })
        }

        fn names(&self) -> Vec<String> {
            locked(&self.kept).iter().map(|(name, _)| name.clone()).collect()
        }
    }

    fn name(text: &str) -> AccountName {
        text.parse().unwrap()
    }

    fn kept(name: &str, sealed: &[u8]) -> Vec<(String, Vec<u8>)> {
        vec![(name.to_owned(), sealed.to_vec())]
    }
}
