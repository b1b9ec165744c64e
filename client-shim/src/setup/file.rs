//! A file as it was read, and its replacement: written beside it, then renamed, so that nobody ever reads half of it.
//!
//! The thing to get wrong: a link stays a link, its target keeps its mode and owner, and what somebody else has written
//! since the file was read is not written over.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

use crate::setup::error::Error;

/// The largest configuration that is read.
const LARGEST: u64 = 1 << 20;

/// The mode of what has not been there: its owner's alone.
const PRIVATE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// The part of a mode that says who may do what; the rest is the kind of file.
const MODE_BITS: u32 = 0o777;

/// A file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// The name by which it is known.
    pub(crate) path: PathBuf,
    /// What is in it; nothing where there is no file.
    text: Option<String>,
}

impl Snapshot {
    /// Reads a file, if there is one.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        Ok(Self { path: path.to_owned(), text: contents(path).map_err(unreadable)? })
    }

    /// Returns the same under another name.
    pub(crate) fn named(&self, path: &Path) -> Self {
        Self { path: path.to_owned(), text: self.text.clone() }
    }

    /// Tells whether there is a file.
    pub(crate) fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// Returns what is in it.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Puts another text in its place.
    pub(crate) fn replace(&self, text: &str) -> Result<(), Error> {
        self.stage(text, Access::Kept)?.put()
    }

    /// Writes another text beside the file: whatever can be refused is refused here.
    pub(crate) fn stage(&self, text: &str, access: Access) -> Result<Staged, Error> {
        self.check()?;
        let unwritable = |source| Error::Unwritable { path: self.path.clone(), source };
        let target = match self.path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => self.path.clone(),
            Err(error) => return Err(unwritable(error)),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIRECTORY)
            .create(target.parent().unwrap_or(Path::new(".")))
            .map_err(unwritable)?;
        // The name is of this process alone: what another one left or is writing is not in the way.
        let beside = beside(&target, &format!(".keyfob-unfinished-{}", process::id()));
        let mut file = create(&beside).map_err(unwritable)?;
        let staged = Staged { before: self.clone(), beside, target };
        write(&mut file, text, &staged.target, access).map_err(unwritable)?;
        Ok(staged)
    }

    /// Keeps the text under another name, which must be free, for the owner of the file alone: it may hold a secret.
    pub(crate) fn keep_as(&self, backup: &Path) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable { path: backup.to_owned(), source };
        let mut file = create(backup).map_err(unwritable)?;
        write(&mut file, self.text(), &self.path, Access::Private).map_err(|error| {
            fs::remove_file(backup).unwrap_or_default();
            unwritable(error)
        })
    }

    /// Removes the file.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.check()?;
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(Error::Unwritable { path: self.path.clone(), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if Self::read(&self.path)?.text == self.text {
            Ok(())
        } else {
            Err(Error::Changed(self.path.clone()))
        }
    }
}

/// Who may read a file that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever could before.
    Kept,
    /// Its owner alone: there is a secret in it.
    Private,
}

/// A text that waits beside its file to take the file's place, and is gone if it never does.
#[derive(Debug)]
pub(crate) struct Staged {
    before: Snapshot,
    beside: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Puts it in its place.
    pub(crate) fn put(self) -> Result<(), Error> {
        self.before.check()?;
        fs::rename(&self.beside, &self.target)
            .and_then(|()| File::open(self.target.parent().unwrap_or(Path::new(".")))?.sync_all())
            .map_err(|source| Error::Unwritable { path: self.before.path.clone(), source })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Where it took its place there is nothing left to remove.
        fs::remove_file(&self.beside).unwrap_or_default();
    }
}

/// Returns the name of the backup of a file.
pub(crate) fn backup_of(path: &Path) -> PathBuf {
    beside(path, ".keyfob-backup")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes a new file, and only a new one.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)
}

/// Writes a text to a new file that has the owner of another one, and its mode.
fn write(file: &mut File, text: &str, like: &Path, access: Access) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(like) {
        let own = file.metadata()?;
        if (metadata.uid(), metadata.gid()) != (own.uid(), own.gid()) {
            fchown(&*file, Some(metadata.uid()), Some(metadata.gid())).map_err(|_| {
                io::Error::other("it belongs to another user or group; run this as its owner")
            })?;
        }
        if access == Access::Kept {
            file.set_permissions(Permissions::from_mode(metadata.mode() & MODE_BITS))?;
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn contents(path: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_since_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let snapshot = Snapshot::read(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(snapshot.replace("ours"), Err(Error::Changed(_))));
        assert!(matches!(snapshot.remove(), Err(Error::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        let absent = Snapshot::read(&directory.path().join("absent")).unwrap();
        fs::write(&absent.path, "theirs").unwrap();
        assert!(matches!(absent.replace("ours"), Err(Error::Changed(_))));
    }

    #[test]
    fn a_backup_takes_no_name_that_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let snapshot = Snapshot::read(&path).unwrap();
        let backup = backup_of(&path);
        fs::write(&backup, "older").unwrap();
        assert!(matches!(snapshot.keep_as(&backup), Err(Error::Unwritable { .. })));
        assert_eq!(fs::read_to_string(&backup).unwrap(), "older");
    }

    #[test]
    fn a_replacement_leaves_nothing_beside_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        Snapshot::read(&path).unwrap().replace("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_text_that_does_not_take_its_place_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let staged = Snapshot::read(&path).unwrap().stage("ours", Access::Kept).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(staged.put(), Err(Error::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_another_run_is_writing_is_neither_in_the_way_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        let theirs = directory.path().join("config.yaml.keyfob-unfinished-1");
        fs::write(&theirs, "theirs").unwrap();
        Snapshot::read(&path).unwrap().replace("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    }

    #[test]
    fn a_replacement_keeps_the_mode_and_a_secret_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, "one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & MODE_BITS;
        Snapshot::read(&path).unwrap().replace("two").unwrap();
        assert_eq!(mode(&path), 0o644);
        let backup = backup_of(&path);
        Snapshot::read(&path).unwrap().keep_as(&backup).unwrap();
        assert_eq!(mode(&backup), PRIVATE);
        Snapshot::read(&path).unwrap().stage("secret", Access::Private).unwrap().put().unwrap();
        assert_eq!(mode(&path), PRIVATE);
    }
}
