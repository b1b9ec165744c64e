//! A file as it was read, and its replacement: written beside it, then renamed, so that nobody ever reads half of it.
//!
//! The thing to get wrong: a link stays a link, its target keeps its mode, and what somebody else has written since the
//! file was read is not written over.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::setup::error::Error;

/// The largest configuration that is read.
const LARGEST: u64 = 1 << 20;

/// The mode of what has not been there: its owner's alone.
const PRIVATE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

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
        self.check()?;
        let unwritable = |source| Error::Unwritable { path: self.path.clone(), source };
        let target = match self.path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => self.path.clone(),
            Err(error) => return Err(unwritable(error)),
        };
        let directory = target.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIRECTORY)
            .create(directory)
            .map_err(unwritable)?;
        let mode = match fs::metadata(&target) {
            Ok(metadata) => metadata.permissions(),
            Err(_) => Permissions::from_mode(PRIVATE),
        };
        let beside = beside(&target, ".keyfob-new");
        let written = write(&beside, text, mode).and_then(|()| {
            self.check().map_err(|_| io::Error::other("it has changed in the meantime; run it again"))?;
            fs::rename(&beside, &target)?;
            File::open(directory)?.sync_all()
        });
        written.map_err(|error| {
            fs::remove_file(&beside).unwrap_or_default();
            unwritable(error)
        })
    }

    /// Keeps the text under another name, which must be free.
    pub(crate) fn keep_as(&self, backup: &Path) -> Result<(), Error> {
        let mode = fs::metadata(&self.path).map_or(Permissions::from_mode(PRIVATE), |it| it.permissions());
        write(backup, self.text(), mode)
            .map_err(|source| Error::Unwritable { path: backup.to_owned(), source })
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

/// Returns the name of the backup of a file.
pub(crate) fn backup_of(path: &Path) -> PathBuf {
    beside(path, ".keyfob-backup")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Writes a new file, and only a new one.
fn write(path: &Path, text: &str, mode: Permissions) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(mode)?;
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
}
