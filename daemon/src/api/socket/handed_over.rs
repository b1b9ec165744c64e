//! What a socket must be that somebody else made, before it is served.
//!
//! The thing to get wrong: a socket in the abstract namespace looks like any other, and every user of the machine can connect
//! to it.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::net::sockopt;

use crate::api::socket::SocketError;
use crate::api::socket::directory::{Directory, Others};

/// Returns the path of a socket that listens, and that this user's programs alone can connect to.
pub(super) fn check(listener: &UnixListener, uid: u32) -> Result<PathBuf, SocketError> {
    let unknown = |source| SocketError::Io { path: PathBuf::from("a socket that was handed over"), source };
    if !sockopt::socket_acceptconn(listener).map_err(|errno| unknown(errno.into()))? {
        return Err(SocketError::Unfit("it does not listen"));
    }
    let address = listener.local_addr().map_err(unknown)?;
    let nameless = SocketError::Unfit("it has no path, so that others can reach it, or nobody");
    let path = address.as_pathname().filter(|path| path.is_absolute()).ok_or(nameless)?.to_owned();
    let failed = |source| SocketError::Io { path: path.clone(), source };
    let parent = path.parent().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let directory = Directory::open(parent, Others::Look)?;
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let found = directory.look_at(name.as_ref()).map_err(failed)?;
    let found = found.ok_or(SocketError::Unfit("there is nothing at its path, so nobody can reach it"))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        Err(SocketError::Unfit("at its path is something else"))
    } else if found.st_uid != uid {
        Err(SocketError::Unfit("another user owns it"))
    } else if found.st_mode & 0o022 != 0 {
        Err(SocketError::Unfit("others may connect to it; SocketMode must be 0600"))
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    use std::path::Path;

    use super::*;

    fn unfit(listener: &UnixListener) -> String {
        check(listener, rustix::process::geteuid().as_raw()).unwrap_err().to_string()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_socket_is_served_only_if_we_alone_can_be_reached_by_it_l10() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        mode(&path, 0o600);
        mode(home.path(), 0o755);
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(check(&listener, uid).unwrap(), path);
        assert!(check(&listener, uid + 1).unwrap_err().to_string().contains("another user owns it"));
        mode(&path, 0o666);
        assert!(unfit(&listener).contains("SocketMode"));
        mode(&path, 0o600);
        mode(home.path(), 0o777);
        assert!(unfit(&listener).contains("others may write to it"));
        mode(home.path(), 0o700);
        fs::remove_file(&path).unwrap();
        assert!(unfit(&listener).contains("nothing at its path"));
        fs::write(&path, "").unwrap();
        assert!(unfit(&listener).contains("something else"));
    }

    #[test]
    fn what_everybody_can_reach_or_nobody_is_refused_l10() {
        let name = format!("keyfob-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        assert!(unfit(&UnixListener::bind_addr(&address).unwrap()).contains("it has no path"));
        let (connected, _other) = UnixStream::pair().unwrap();
        assert!(unfit(&UnixListener::from(OwnedFd::from(connected))).contains("it does not listen"));
    }
}
