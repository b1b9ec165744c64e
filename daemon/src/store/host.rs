//! Whose a state directory is: this machine's alone, unless it is on a file system that several machines share.
//!
//! A refresh token is never for two hosts: the one would spend what the other holds, and a lock of the one says nothing to
//! the other. So on a shared file system every host has a directory of its own. The thing to get wrong: a host that is
//! called otherwise tomorrow does not find its tokens, so it goes by the machine's id and not by its name.

use std::fs;

use sha2::{Digest, Sha256};

use crate::store::directory::{Directory, FileError};
use crate::token::digest::hex;

/// File systems that another machine may have open too, as `statfs` numbers them (`linux/magic.h`). FUSE is there for
/// sshfs and the like: which of them it is nobody can tell.
const SHARED: [u32; 16] = [
    0x0000_6969, // nfs
    0x0000_517b, // smb
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x6573_5546, // fuse
    0x0102_1997, // 9p
    0x5346_414f, // afs
    0x6b41_4653, // kafs
    0x7375_7245, // coda
    0x0000_564c, // ncp
    0x00c3_6400, // ceph
    0x0bd0_0bd0, // lustre
    0x0116_1970, // gfs2
    0x7461_636f, // ocfs2
    0x4750_4653, // gpfs
    0x1983_0326, // beegfs
];

/// Where the machine's id is. The second is for machines without systemd.
const IDS: [&str; 3] = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/sys/kernel/hostname"];

/// Returns the part of a state directory that is this machine's.
pub(crate) fn own_part(state: Directory) -> Result<Directory, FileError> {
    part_of(state.file_system()?, state, &machine_id())
}

/// Returns the part of a state directory that is one machine's, on a file system of a kind.
fn part_of(file_system: u32, state: Directory, machine_id: &str) -> Result<Directory, FileError> {
    if !SHARED.contains(&file_system) {
        return Ok(state);
    }
    // The id is not to be told to whoever reads the directory (machine-id(5)).
    let hash = Sha256::digest([b"keyfob\0", machine_id.trim().as_bytes()].concat());
    state.subdirectory("hosts")?.subdirectory(&hex(&hash[..16]))
}

fn machine_id() -> String {
    let ids = IDS.iter().filter_map(|path| fs::read_to_string(path).ok());
    ids.map(|id| id.trim().to_owned()).find(|id| !id.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn on_a_shared_file_system_each_host_has_a_directory_of_its_own() {
        let home = TempDir::new().unwrap();
        let part = |file_system, machine_id| {
            let state = Directory::open(&home.path().join("state")).unwrap();
            let part = part_of(file_system, state, machine_id).unwrap();
            part.path().strip_prefix(home.path().join("state")).unwrap().to_str().unwrap().to_owned()
        };
        let (ext4, btrfs, tmpfs, overlay) = (0xef53, 0x9123_683e, 0x0102_1994, 0x794c_7630);
        for local in [ext4, btrfs, tmpfs, overlay] {
            assert_eq!(part(local, "a"), "", "{local:x}");
        }
        for shared in SHARED {
            let (one, other) = (part(shared, "a"), part(shared, "b"));
            assert!(one.starts_with("hosts/") && one.len() == "hosts/".len() + 32, "{one}");
            assert_ne!(one, other);
            assert_eq!(part(shared, "a\n"), one);
            assert!(home.path().join("state").join(one).is_dir());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_which_file_system_a_directory_is_on() {
        // The one directory of every machine that is ours alone and of a known kind.
        let directory = Directory::open_existing("/proc/self/fd".as_ref()).unwrap().unwrap();
        assert_eq!(directory.file_system().unwrap(), 0x9fa0);
    }
}
