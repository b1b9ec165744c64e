//! A name in the directory, and the socket that has it.
//!
//! A socket is bound to a name beside it and renamed when it listens: so there is no moment without a socket, and none at
//! which one is there that nobody serves. The thing to get wrong: `bind` and `rename` tell nobody whose socket was there
//! before, so that is looked at first.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, fchmod, renameat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::api::socket::SocketError;
use crate::api::socket::directory::{Directory, Others};

/// How many clients may wait until we get to them: a thousand tools may ask at the same moment. The system may allow fewer.
const BACKLOG: i32 = 4096;

/// What a socket is called until it listens.
const UNFINISHED: &str = ".new";

/// Where a socket of ours is.
#[derive(Debug)]
pub(super) struct Place {
    directory: Directory,
    name: PathBuf,
    path: PathBuf,
    identity: Identity,
}

/// What tells one file from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Place {
    /// Makes a socket that listens, and gives it this path.
    pub(super) fn take(path: &Path) -> Result<(Self, OwnedFd), SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        let (parent, name) = split(path)?;
        let directory = Directory::make(parent)?;
        make_way(&directory, name)?;
        let mut unfinished = OsString::from(".");
        unfinished.push(name);
        unfinished.push(UNFINISHED);
        let unfinished = Path::new(&unfinished);
        remove_leftover(&directory, unfinished).map_err(failed)?;
        let listener = listening(&directory.address(unfinished)?).map_err(failed)?;
        let made = identity(&directory, unfinished).and_then(|identity| {
            let renamed = renameat(directory.fd(), unfinished, directory.fd(), name);
            renamed.map(|()| identity).map_err(io::Error::from)
        });
        let identity = made.map_err(|source| {
            // It is the first error that counts.
            drop(unlinkat(directory.fd(), unfinished, AtFlags::empty()).map_err(io::Error::from));
            failed(source)
        })?;
        let (name, path) = (name.to_owned(), path.to_owned());
        Ok((Self { directory, name, path, identity }, listener))
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory that it is in.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Tells whether who comes by the path gets to our socket.
    pub(super) fn is_ours(&self) -> bool {
        let by_path = Directory::open(self.directory.path(), Others::Nothing);
        by_path.is_ok_and(|directory| self.is_ours_in(&directory))
    }

    /// Removes the name, unless it is another socket's by now.
    pub(super) fn leave(&self) -> io::Result<()> {
        if self.is_ours_in(&self.directory) {
            unlinkat(self.directory.fd(), &self.name, AtFlags::empty())?;
        }
        Ok(())
    }

    fn is_ours_in(&self, directory: &Directory) -> bool {
        identity(directory, &self.name).is_ok_and(|found| found == self.identity)
    }
}

/// Tells whether a daemon answers at a path.
pub(super) fn answers(path: &Path) -> bool {
    let address = split(path).and_then(|(parent, name)| {
        let directory = Directory::open(parent, Others::Look)?;
        Ok((directory.address(name)?, directory))
    });
    // The directory stays open meanwhile: the address may be one through its descriptor.
    address.is_ok_and(|(address, _directory)| knock(&address).is_ok_and(|answer| answer == Knock::Answered))
}

fn split(path: &Path) -> Result<(&Path, &Path), SocketError> {
    let nameless = || SocketError::Occupied { path: path.to_owned(), what: "a directory" };
    let name = path.file_name().ok_or_else(nameless)?;
    Ok((path.parent().ok_or_else(nameless)?, Path::new(name)))
}

/// Looks at what has the name, and refuses to take it from anybody who needs it. Nothing is removed.
fn make_way(directory: &Directory, name: &Path) -> Result<(), SocketError> {
    let path = || directory.path().join(name);
    let failed = |source| SocketError::Io { path: path(), source };
    let occupied = |what| SocketError::Occupied { path: path(), what };
    let Some(found) = directory.look_at(name).map_err(failed)? else { return Ok(()) };
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Socket if found.st_uid == rustix::process::geteuid().as_raw() => {
            match knock(&directory.address(name)?).map_err(failed)? {
                Knock::Answered => Err(SocketError::InUse(path())),
                Knock::NobodyThere => Ok(()),
                Knock::AnotherKind => Err(occupied("a socket of another kind")),
            }
        }
        FileType::Socket => Err(occupied("another user's socket")),
        FileType::Symlink => Err(occupied("a symbolic link")),
        FileType::Fifo => Err(occupied("a FIFO")),
        FileType::Directory => Err(occupied("a directory")),
        FileType::RegularFile => Err(occupied("a file")),
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => Err(occupied("a device")),
    }
}

/// Removes a socket that never got its name. Nobody is connected to it.
fn remove_leftover(directory: &Directory, name: &Path) -> io::Result<()> {
    match directory.look_at(name)? {
        Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Socket => {
            Ok(unlinkat(directory.fd(), name, AtFlags::empty())?)
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns a socket that listens and is 0600 from the moment it has a name, whatever the umask.
fn listening(address: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn identity(directory: &Directory, name: &Path) -> io::Result<Identity> {
    let found = directory.look_at(name)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(Identity { device: found.st_dev, inode: found.st_ino })
}

/// What comes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knock {
    Answered,
    NobodyThere,
    AnotherKind,
}

/// Connects without waiting: somebody whose backlog is full is there, too.
fn knock(address: &SocketAddrUnix) -> io::Result<Knock> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, address) {
        Ok(()) | Err(Errno::AGAIN) => Ok(Knock::Answered),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(Knock::NobodyThere),
        Err(Errno::PROTOTYPE) => Ok(Knock::AnotherKind),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;

    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
            Self(home)
        }

        fn socket(&self) -> PathBuf {
            self.0.path().join("keyfob.sock")
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(self.0.path()).unwrap();
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    #[test]
    fn the_socket_is_0600_and_nothing_else_is_left_beside_it() {
        let home = Home::new();
        let (place, _listener) = Place::take(&home.socket()).unwrap();
        let found = fs::symlink_metadata(home.socket()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o7777, 0o600);
        assert_eq!(home.names(), ["keyfob.sock"]);
        assert!(place.is_ours() && UnixStream::connect(home.socket()).is_ok());
        place.leave().unwrap();
        assert!(home.names().is_empty());
    }

    #[test]
    fn a_socket_that_nobody_serves_is_replaced_and_one_that_answers_is_not() {
        let home = Home::new();
        drop(UnixListener::bind(home.socket()).unwrap());
        drop(UnixListener::bind(home.0.path().join(".keyfob.sock.new")).unwrap());
        let (place, listener) = Place::take(&home.socket()).unwrap();
        assert!(matches!(Place::take(&home.socket()), Err(SocketError::InUse(_))));
        assert!(place.is_ours() && answers(&home.socket()));
        drop(listener);
        assert!(!answers(&home.socket()));
        let (next, _listener) = Place::take(&home.socket()).unwrap();
        assert!(next.is_ours() && !place.is_ours());
        // What was replaced removes nothing of who came after it.
        place.leave().unwrap();
        assert!(next.is_ours());
    }

    #[test]
    fn what_is_in_the_way_is_named_and_stays_l2() {
        type Obstacle = fn(&Path);
        let obstacles: [(&str, Obstacle); 5] = [
            ("a file", |path| fs::write(path, "a file of the user's").unwrap()),
            ("a directory", |path| fs::create_dir(path).unwrap()),
            ("a symbolic link", |path| symlink("/nowhere", path).unwrap()),
            ("a symbolic link", |path| symlink("/dev/null", path).unwrap()),
            ("a FIFO", |path| {
                rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
            }),
        ];
        for (name, put_in_the_way) in obstacles {
            let home = Home::new();
            put_in_the_way(&home.socket());
            let before = fs::symlink_metadata(home.socket()).unwrap();
            let error = Place::take(&home.socket()).unwrap_err();
            assert!(matches!(error, SocketError::Occupied { what, .. } if what == name), "{name}: {error}");
            let after = fs::symlink_metadata(home.socket()).unwrap();
            assert_eq!(
                (before.file_type(), before.modified().ok()),
                (after.file_type(), after.modified().ok())
            );
            assert_eq!(home.names().len(), 1);
        }
        let home = Home::new();
        let _datagrams = UnixDatagram::bind(home.socket()).unwrap();
        let error = Place::take(&home.socket()).unwrap_err();
        assert!(matches!(error, SocketError::Occupied { what: "a socket of another kind", .. }), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_ours_alone_is_refused_and_none_is_followed_l2() {
        let home = Home::new();
        let (real, link) = (home.0.path().join("real"), home.0.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let refused = |path: &Path| {
            let error = Place::take(&path.join("s")).unwrap_err();
            let SocketError::Unsafe { why, .. } = error else { panic!("{error}") };
            why
        };
        for mode in [0o777, 0o750, 0o701, 0o770] {
            fs::set_permissions(&real, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(refused(&real), "others may enter it");
        }
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(refused(&link), "it is something else, or a symbolic link");
        assert!(fs::read_dir(&real).unwrap().next().is_none(), "the link was followed");
        fs::write(home.0.path().join("file"), "").unwrap();
        assert_eq!(refused(&home.0.path().join("file")), "it is something else, or a symbolic link");
    }

    #[test]
    fn a_path_of_any_length_will_do_l2() {
        let home = Home::new();
        let path = home.0.path().join("d".repeat(200)).join("keyfob.sock");
        let (place, _listener) = Place::take(&path).unwrap();
        assert!(path.as_os_str().len() > 200 && answers(&path) && place.is_ours());
        assert!(matches!(Place::take(&path), Err(SocketError::InUse(_))));
        let named = home.0.path().join("n".repeat(200));
        assert!(matches!(Place::take(&named), Err(SocketError::TooLong(_))));
    }
}
