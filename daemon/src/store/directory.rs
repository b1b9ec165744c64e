//! A directory that is ours alone, and the files in it.
//!
//! Every path goes through the open directory, so that nobody can put another directory in its place meanwhile. What
//! others may enter or read is refused and not mended: it may have been read already. The thing to get wrong: a file
//! is on disk only when its bytes, its name and its directory are.

mod file;
#[cfg(test)]
pub(crate) mod recorder;

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::failpoint::{self, Point};

#[cfg(test)]
use crate::store::directory::recorder::{Change, inode, note_in};

pub(crate) use crate::store::directory::file::OpenFile;

/// An open directory of ours, mode 0700.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// The tokens of an account: the fail points of a rotation are passed by these alone.
    Tokens(&'a [u8]),
    /// Whatever else.
    Other(&'a [u8]),
}

impl<'a> Content<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Tokens(bytes) | Self::Other(bytes) => bytes,
        }
    }

    fn pass(self, point: Point) -> io::Result<()> {
        match self {
            Self::Tokens(_) => failpoint::pass(point),
            Self::Other(_) => Ok(()),
        }
    }
}

/// Why a file or a directory could not be used. Mending the file system helps: its modes, its space, its mount.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not ours alone.
    #[error("{} {problem}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with a file or a directory that is not ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Another user owns it.
    #[error("belongs to another user")]
    Foreign,
    /// Its mode lets others in.
    #[error("is open to other users: take their permissions away with 'chmod go-rwx'")]
    Open,
    /// It has a second name, through which others may hold it.
    #[error("has more than one hard link")]
    Linked,
    /// It is a symbolic link, a directory, a pipe or the like.
    #[error("is no plain file")]
    NoFile,
    /// It is a symbolic link or a file.
    #[error("is no directory, or a symbolic link to one")]
    NoDirectory,
}

impl Directory {
    /// Opens a directory; makes it, and what leads to it, where there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let io = |source| FileError::Io { doing: "make the directory", path: path.to_owned(), source };
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // Something else has the name: opening it says what.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(io)?,
        }
        Self::open_at(CWD.as_fd(), path, path.to_owned())
    }

    /// Opens a directory, if there is one.
    pub(crate) fn open_existing(path: &Path) -> Result<Option<Self>, FileError> {
        match Self::open_at(CWD.as_fd(), path, path.to_owned()) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens the directory once more: a lock on what is returned ends with that.
    pub(crate) fn reopened(&self) -> Result<File, FileError> {
        Self::open_at(self.fd.as_fd(), Path::new("."), self.path.clone()).map(|again| again.fd.into())
    }

    /// Opens a directory inside this one; makes it where there is none.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<Self, FileError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.io("make the directory", name, errno)),
        }
        Self::open_at(self.fd.as_fd(), Path::new(name), self.path_of(name))
    }

    fn open_at(parent: impl AsFd, name: &Path, path: PathBuf) -> Result<Self, FileError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(FileError::Unsafe { path, problem: Problem::NoDirectory });
            }
            Err(errno) => return Err(FileError::Io { doing: "open", path, source: errno.into() }),
        };
        match rustix::fs::fstat(&fd).map(|stat| exposure(&stat)) {
            Ok(None) => Ok(Self { fd, path }),
            Ok(Some(problem)) => Err(FileError::Unsafe { path, problem }),
            Err(errno) => Err(FileError::Io { doing: "look at", path, source: errno.into() }),
        }
    }

    /// Returns the path of a file in this directory, for people.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the number by which Linux knows the file system that the directory is on.
    #[cfg(target_os = "linux")]
    pub(crate) fn file_system(&self) -> Result<u32, FileError> {
        let stat = rustix::fs::fstatfs(&self.fd).map_err(|errno| self.io("look at", "", errno))?;
        // Its type has other widths, and signs, on other machines. The number has 32 bits on all of them.
        fn low_bits(number: impl Into<i64>) -> u32 {
            u32::try_from(number.into() & 0xffff_ffff).expect("the mask leaves 32 bits")
        }
        Ok(low_bits(stat.f_type))
    }

    /// Other systems have no such number: none of ours.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn file_system(&self) -> Result<u32, FileError> {
        Ok(0)
    }

    /// Returns the path of this directory, for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the first `limit` bytes of a file, or nothing where there is no file of this name.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let Some((file, stat)) = self.existing(name, OFlags::RDONLY)? else { return Ok(None) };
        let size = usize::try_from(stat.st_size).unwrap_or(limit).min(limit);
        // One byte more than the file has: the buffer never moves, so it leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
        let bounded = file.take(u64::try_from(size).unwrap_or(u64::MAX)).read_to_end(&mut bytes);
        bounded.map_err(|source| self.io("read", name, source))?;
        Ok(Some(bytes))
    }

    /// Puts a file in place, whole or not at all: written beside, synced, renamed, and the directory synced.
    pub(crate) fn replace(&self, name: &str, content: Content<'_>) -> Result<(), FileError> {
        let written = self.draft(name).and_then(|draft| {
            draft.write_at(content.bytes(), 0)?;
            draft.sync()?;
            content.pass(Point::Written).map_err(|source| self.io("write", name, source))
        });
        if let Err(error) = written {
            self.discard_draft(name);
            return Err(error);
        }
        self.put_in_place(name)?;
        content.pass(Point::Renamed).map_err(|source| self.io("sync", name, source))
    }

    /// Makes an empty file beside the one of a name. What a crash left there is nobody's.
    pub(crate) fn draft(&self, name: &str) -> Result<OpenFile, FileError> {
        let beside = temporary(name);
        self.remove(&beside)?;
        let fd = self.open_file(&beside, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        #[cfg(test)]
        note_in(&self.path, |directory| Change::Create { directory, name: beside.clone(), file: inode(&fd) });
        Ok(OpenFile { file: File::from(fd), path: self.path_of(name) })
    }

    /// Puts a draft, which was synced, in the place of what it was made beside.
    pub(crate) fn put_in_place(&self, name: &str) -> Result<(), FileError> {
        let renamed = self.rename(&temporary(name), name);
        if renamed.is_err() {
            self.discard_draft(name);
        }
        renamed?;
        self.sync()
    }

    /// Removes a draft that came to nothing.
    pub(crate) fn discard_draft(&self, name: &str) {
        if let Err(error) = self.remove(&temporary(name)) {
            tracing::debug!(%error, "a temporary file stays behind");
        }
    }

    /// Gives a file another name, under which nothing reads it: `name.suffix`, or `name.suffix-2` and so on where that
    /// is taken. Returns its path.
    pub(crate) fn set_aside(&self, name: &str, suffix: &str) -> Result<PathBuf, FileError> {
        let aside = self.name_aside(name, suffix)?;
        self.rename(name, &aside)?;
        self.sync()?;
        Ok(self.path_of(&aside))
    }

    /// Writes bytes to where [`Self::set_aside`] would put the file. Returns the path.
    pub(crate) fn keep_aside(&self, name: &str, suffix: &str, bytes: &[u8]) -> Result<PathBuf, FileError> {
        let aside = self.name_aside(name, suffix)?;
        self.replace(&aside, Content::Other(bytes))?;
        Ok(self.path_of(&aside))
    }

    fn name_aside(&self, name: &str, suffix: &str) -> Result<String, FileError> {
        let mut aside = format!("{name}.{suffix}");
        let mut count = 1;
        while self.exists(&aside)? {
            count += 1;
            aside = format!("{name}.{suffix}-{count}");
        }
        Ok(aside)
    }

    /// Removes a file, and overwrites it and what a crash may have left beside it. No file is fine. (How little an
    /// overwrite means on a journalling disk is known; it costs nothing.)
    ///
    /// It loses its name first: a crash in between must not leave a damaged file behind.
    pub(crate) fn scrub(&self, name: &str) -> Result<(), FileError> {
        let beside = temporary(name);
        if let Some((file, stat)) = self.existing(&beside, OFlags::WRONLY)? {
            self.wipe(&beside, file, &stat)?;
        }
        if let Some((file, stat)) = self.existing(name, OFlags::WRONLY)? {
            self.rename(name, &beside)?;
            self.sync()?;
            self.wipe(&beside, file, &stat)?;
        }
        self.sync()
    }

    fn wipe(&self, name: &str, file: File, stat: &Stat) -> Result<(), FileError> {
        let file = OpenFile { file, path: self.path_of(name) };
        file.fill_with_zeros(u64::try_from(stat.st_size).unwrap_or(0))?;
        file.sync()?;
        self.remove(name)
    }

    /// Returns the names in this directory.
    pub(crate) fn names(&self) -> Result<Vec<String>, FileError> {
        let io = |errno| self.io("list", "", errno);
        let entries = Dir::read_from(&self.fd).map_err(io)?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(io)
    }

    /// Opens a file for reading and writing; makes it, empty, where there is none. Where nothing can be written any more,
    /// it is opened for reading.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<File, FileError> {
        let fd = match self.open_file(name, OFlags::RDWR | OFlags::CREATE) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                self.open_file(name, OFlags::RDONLY)?
            }
            opened => opened?,
        };
        self.plain_file(name, fd).map(|(file, _)| file)
    }

    fn existing(&self, name: &str, access: OFlags) -> Result<Option<(File, Stat)>, FileError> {
        match self.open_file(name, access) {
            Ok(fd) => self.plain_file(name, fd).map(Some),
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_file(&self, name: &str, access: OFlags) -> Result<OwnedFd, FileError> {
        // Without NONBLOCK a pipe of this name would hold us until somebody opens its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(fd),
            // A symbolic link; a directory, or a pipe that nobody reads, to be written.
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Err(self.unsafe_file(name, Problem::NoFile)),
            Err(errno) => Err(self.io("open", name, errno)),
        }
    }

    fn plain_file(&self, name: &str, fd: OwnedFd) -> Result<(File, Stat), FileError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.io("look at", name, errno))?;
        let problem = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if stat.st_nlink > 1 => Some(Problem::Linked),
            FileType::RegularFile => exposure(&stat),
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Some(Problem::NoFile),
        };
        match problem {
            None => Ok((File::from(fd), stat)),
            Some(problem) => Err(self.unsafe_file(name, problem)),
        }
    }

    fn exists(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.io("look at", name, errno)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|errno| self.io("rename", from, errno))?;
        #[cfg(test)]
        note_in(&self.path, |directory| Change::Rename {
            directory,
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), FileError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => {
                #[cfg(test)]
                note_in(&self.path, |directory| Change::Remove { directory, name: name.to_owned() });
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.io("remove", name, errno)),
        }
    }

    fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| self.io("sync", "", errno))?;
        #[cfg(test)]
        note_in(&self.path, |directory| Change::SyncDirectory { directory });
        Ok(())
    }

    fn io(&self, doing: &'static str, name: &str, source: impl Into<io::Error>) -> FileError {
        let path = if name.is_empty() { self.path.clone() } else { self.path_of(name) };
        FileError::Io { doing, path, source: source.into() }
    }

    fn unsafe_file(&self, name: &str, problem: Problem) -> FileError {
        FileError::Unsafe { path: self.path_of(name), problem }
    }
}

/// Returns the name under which a file is written before it is put in place.
fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}

/// Tells in what way, if any, others may have their hands on it.
fn exposure(stat: &Stat) -> Option<Problem> {
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        Some(Problem::Foreign)
    } else if stat.st_mode & 0o077 != 0 {
        Some(Problem::Open)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_new_directory_is_ours_alone() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state/keyfob");
        Directory::open(&path).unwrap().subdirectory("accounts").unwrap();
        for path in [&path, &path.join("accounts"), &dir.path().join("state")] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_and_not_mended() {
        for open in [0o777, 0o770, 0o750, 0o701] {
            let dir = TempDir::new().unwrap();
            set_mode(dir.path(), open);
            assert_eq!(problem(Directory::open(dir.path())), Problem::Open);
            assert_eq!(mode(dir.path()), open);
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let dir = TempDir::new().unwrap();
        // Only root can give a directory away; for everybody else the root directory is somebody else's.
        let foreign = match chown(dir.path(), Some(65534), None) {
            Ok(()) => dir.path(),
            Err(_) => Path::new("/"),
        };
        assert_eq!(problem(Directory::open(foreign)), Problem::Foreign);
    }

    #[test]
    fn a_link_or_a_file_in_place_of_the_directory_is_refused() {
        let (dir, directory) = ours();
        symlink(directory.path(), dir.path().join("link")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for name in ["link", "file"] {
            assert_eq!(problem(Directory::open(&dir.path().join(name))), Problem::NoDirectory, "{name}");
        }
    }

    #[test]
    fn what_is_no_plain_file_of_ours_is_refused_and_left_alone() {
        let (dir, directory) = ours();
        let at = |name: &str| directory.path().join(name);
        write(&dir.path().join("elsewhere"), "precious");
        symlink(dir.path().join("elsewhere"), at("link")).unwrap();
        symlink(dir.path().join("nowhere"), at("dangling")).unwrap();
        write(&at("first-name"), "precious");
        fs::hard_link(at("first-name"), at("second-name")).unwrap();
        write(&at("open"), "precious");
        set_mode(&at("open"), 0o644);
        fs::create_dir(at("directory")).unwrap();
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
        for (name, expected) in [
            ("link", Problem::NoFile),
            ("dangling", Problem::NoFile),
            ("second-name", Problem::Linked),
            ("open", Problem::Open),
            ("directory", Problem::NoFile),
            ("pipe", Problem::NoFile),
        ] {
            assert_eq!(problem(directory.read(name, 100)), expected, "reading {name}");
            assert_eq!(problem(directory.scrub(name)), expected, "removing {name}");
            assert!(at(name).symlink_metadata().is_ok(), "{name} is gone");
        }
        for path in [at("first-name"), at("open"), dir.path().join("elsewhere")] {
            assert_eq!(fs::read_to_string(path).unwrap(), "precious");
        }
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let (_dir, directory) = ours();
        directory.replace("file", Content::Other(b"0123456789")).unwrap();
        assert_eq!(directory.read("file", 4).unwrap().unwrap().as_slice(), b"0123");
        assert_eq!(directory.read("file", 100).unwrap().unwrap().as_slice(), b"0123456789");
        assert!(directory.read("none", 100).unwrap().is_none());
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let (_dir, directory) = ours();
        directory.replace("file", Content::Other(b"old")).unwrap();
        fs::create_dir(directory.path().join(".file.tmp")).unwrap();
        assert!(matches!(directory.replace("file", Content::Other(b"new")), Err(FileError::Io { .. })));
        assert_eq!(directory.read("file", 100).unwrap().unwrap().as_slice(), b"old");
    }

    #[test]
    fn what_a_crash_left_beside_a_file_is_harmless() {
        let (dir, directory) = ours();
        write(&dir.path().join("elsewhere"), "precious");
        symlink(dir.path().join("elsewhere"), directory.path().join(".file.tmp")).unwrap();
        directory.replace("file", Content::Other(b"new")).unwrap();
        assert_eq!(directory.read("file", 100).unwrap().unwrap().as_slice(), b"new");
        assert_eq!(fs::read_to_string(dir.path().join("elsewhere")).unwrap(), "precious");
        assert_eq!(directory.names().unwrap().iter().filter(|name| name.contains("file")).count(), 1);
    }

    #[test]
    fn a_file_is_written_for_its_owner_alone() {
        let (_dir, directory) = ours();
        directory.replace("file", Content::Other(b"new")).unwrap();
        assert_eq!(mode(&directory.path().join("file")), 0o600);
    }

    #[test]
    fn a_removed_file_is_overwritten_first_and_so_is_what_lies_beside_it() {
        let (dir, directory) = ours();
        for name in ["file", ".file.tmp"] {
            write(&directory.path().join(name), "precious");
        }
        let mut held = File::open(directory.path().join("file")).unwrap();
        directory.scrub("file").unwrap();
        let mut left = Vec::new();
        held.read_to_end(&mut left).unwrap();
        assert_eq!(left, [0; 8]);
        assert!(fs::read_dir(dir.path().join("ours")).unwrap().next().is_none());
        directory.scrub("file").unwrap();
    }

    #[test]
    fn setting_aside_overwrites_nothing() {
        let (_dir, directory) = ours();
        let mut paths = Vec::new();
        for content in ["first", "second", "third"] {
            directory.replace("file", Content::Other(content.as_bytes())).unwrap();
            paths.push(directory.set_aside("file", "corrupt").unwrap());
        }
        let contents: Vec<_> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(contents, ["first", "second", "third"]);
        assert!(directory.read("file", 100).unwrap().is_none());
    }

    fn ours() -> (TempDir, Directory) {
        let dir = TempDir::new().unwrap();
        let directory = Directory::open(&dir.path().join("ours")).unwrap();
        (dir, directory)
    }

    fn problem<T>(outcome: Result<T, FileError>) -> Problem {
        match outcome {
            Err(FileError::Unsafe { problem, .. }) => problem,
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("it was accepted"),
        }
    }

    fn write(path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        set_mode(path, 0o600);
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}
