//! The configuration file on disk: who may have written it, then its bytes.
//!
//! It says where tokens go and which programs run, so whoever may write it owns the tokens. What is checked is the file
//! that was opened, not the name; a link is followed (people keep their settings elsewhere), and its target is checked.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::config::ConfigError;

/// The largest file: ten thousand accounts with every setting fit.
const LARGEST: u64 = 16 << 20;

/// The write bits of everybody but the owner.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// In such a directory only the owner of a file may replace it.
const STICKY: u32 = 0o1000;

/// How others could change the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// The file or directory has write permission for group or others.
    OthersMayWrite,
    /// The file or directory belongs to neither us nor root.
    OtherOwner {
        /// The user id of its owner.
        owner: u32,
    },
}

impl Danger {
    /// Says what is wrong with a file or directory, and what mends it.
    pub(super) fn sentence(self, path: &Path) -> String {
        match self {
            Self::OthersMayWrite => format!("others may write it; run chmod go-w {}", path.display()),
            Self::OtherOwner { owner } => {
                format!(
                    "it belongs to another user (uid {owner}; under systemd that may be root, who cannot be told from others there); \
                     put a copy that is yours in its place, or run: keyfob setup systemd --no-userns"
                )
            }
        }
    }
}

/// Reads the file, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let Some(target) = follow(path).map_err(unreadable)? else { return Ok(None) };
    for directory in [parent(path), parent(&target)] {
        check(directory, &fs::metadata(directory).map_err(unreadable)?)?;
    }
    let (file, metadata) = open(&target).map_err(unreadable)?;
    check(&target, &metadata)?;
    contents(file).map(Some).map_err(unreadable)
}

/// Returns where the file really is. A link to nothing is a mistake, not a missing file.
fn follow(path: &Path) -> io::Result<Option<PathBuf>> {
    match path.canonicalize() {
        Ok(target) => Ok(Some(target)),
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // NONBLOCK: a pipe would wait for somebody to write to it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn contents(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(bytes)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    let us = rustix::process::geteuid().as_raw();
    let sticky = metadata.is_dir() && metadata.mode() & STICKY != 0;
    match danger(metadata.uid(), metadata.mode(), us) {
        Some(Danger::OthersMayWrite) if sticky => Ok(()),
        Some(danger) => Err(ConfigError::Unsafe { path: path.to_owned(), danger }),
        None => Ok(()),
    }
}

fn danger(owner: u32, mode: u32, us: u32) -> Option<Danger> {
    const ROOT: u32 = 0;
    if owner != us && owner != ROOT {
        Some(Danger::OtherOwner { owner })
    } else if mode & OTHERS_MAY_WRITE != 0 {
        Some(Danger::OthersMayWrite)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType};
    use tempfile::TempDir;

    use super::*;

    fn directory(mode: u32) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        set(directory.path(), mode);
        directory
    }

    fn written(path: &Path, mode: u32) {
        fs::write(path, "text").unwrap();
        set(path, mode);
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Returns what others may write.
    fn refused(outcome: Result<Option<Vec<u8>>, ConfigError>) -> PathBuf {
        match outcome {
            Err(ConfigError::Unsafe { path, danger: Danger::OthersMayWrite }) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let directory = directory(0o755);
        let path = directory.path().canonicalize().unwrap().join("config.toml");
        for (mode, accepted) in
            [(0o600, true), (0o644, true), (0o400, true), (0o620, false), (0o602, false), (0o666, false)]
        {
            written(&path, mode);
            if accepted {
                assert_eq!(read(&path).unwrap().unwrap(), b"text", "{mode:o}");
            } else {
                assert_eq!(refused(read(&path)), path, "{mode:o}");
            }
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_directory_where_others_could_replace_the_file_is_refused() {
        for (mode, accepted) in [(0o700, true), (0o755, true), (0o1777, true), (0o775, false), (0o707, false)]
        {
            let directory = directory(mode);
            let path = directory.path().join("config.toml");
            written(&path, 0o600);
            if accepted {
                assert_eq!(read(&path).unwrap().unwrap(), b"text", "{mode:o}");
            } else {
                assert_eq!(refused(read(&path)), directory.path(), "{mode:o}");
            }
        }
    }

    #[test]
    fn a_link_is_as_safe_as_its_target_and_both_directories() {
        let (here, there, open) = (directory(0o700), directory(0o700), directory(0o777));
        let linked = |name: &str, directory: &TempDir, mode| {
            let target = directory.path().canonicalize().unwrap().join(name);
            written(&target, mode);
            let link = here.path().join(name);
            symlink(&target, &link).unwrap();
            (link, target)
        };
        let (link, _) = linked("safe", &there, 0o600);
        assert_eq!(read(&link).unwrap().unwrap(), b"text");
        let (unsafe_link, target) = linked("writable", &there, 0o606);
        assert_eq!(refused(read(&unsafe_link)), target);
        let (unsafe_link, _) = linked("replaceable", &open, 0o600);
        assert_eq!(refused(read(&unsafe_link)), open.path().canonicalize().unwrap());
        set(here.path(), 0o770);
        assert_eq!(refused(read(&link)), here.path());
    }

    #[test]
    fn only_we_and_root_may_own_it() {
        let other = Some(Danger::OtherOwner { owner: 1001 });
        for (owner, mode, us, expected) in [
            (1000, 0o100_644, 1000, None),
            (0, 0o100_644, 1000, None),
            (1001, 0o100_644, 1000, other),
            (1001, 0o100_644, 0, other),
            (1001, 0o100_666, 1000, other),
            (1000, 0o100_664, 1000, Some(Danger::OthersMayWrite)),
            (0, 0o100_646, 1000, Some(Danger::OthersMayWrite)),
        ] {
            assert_eq!(danger(owner, mode, us), expected, "{owner} {mode:o} {us}");
        }
    }

    #[test]
    fn no_file_is_no_mistake_but_a_link_to_nothing_is_one() {
        let directory = directory(0o700);
        let path = directory.path().join("config.toml");
        assert!(read(&path).unwrap().is_none());
        assert!(read(&directory.path().join("missing/config.toml")).unwrap().is_none());
        symlink("elsewhere", &path).unwrap();
        assert!(
            matches!(read(&path), Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound)
        );
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let directory = directory(0o700);
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let inner = directory.path().join("directory");
        fs::create_dir(&inner).unwrap();
        for path in [&pipe, &inner] {
            let Err(ConfigError::Unreadable { source, .. }) = read(path) else { panic!("{path:?} was read") };
            assert_eq!(source.to_string(), "it is not a regular file");
        }
    }

    #[test]
    fn a_file_of_more_than_sixteen_mebibytes_is_refused() {
        let directory = directory(0o700);
        let path = directory.path().join("config.toml");
        for (size, accepted) in [(LARGEST, true), (LARGEST + 1, false)] {
            fs::write(&path, vec![b'#'; usize::try_from(size).unwrap()]).unwrap();
            assert_eq!(read(&path).is_ok(), accepted, "{size}");
        }
    }
}
