//! Memory with a descriptor, which nobody can change any more (`memfd_create` with all seals).
//!
//! The thing to get wrong: what comes from outside must have those seals before it is read, or its bytes may change and
//! its end may come nearer while we read it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// Nothing is added, taken away or changed, and that stays so.
pub(super) const FROZEN: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Puts bytes into memory of their own that nobody can change.
pub(super) fn freeze(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, FROZEN)?;
    Ok(file.into())
}

/// Reads such memory, or says why it is none.
pub(super) fn thaw(descriptor: &OwnedFd, limit: usize) -> Result<Vec<u8>, &'static str> {
    // Only memory has seals at all.
    match fcntl_get_seals(descriptor) {
        Ok(seals) if seals.contains(FROZEN) => {}
        Ok(_) => return Err("its contents could be changed"),
        Err(_) => return Err("it is no memory"),
    }
    let file = descriptor.try_clone().map(File::from).map_err(|_| "it cannot be read")?;
    let length = file.metadata().map_err(|_| "it cannot be read")?.len();
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or("it is too long")?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).map_err(|_| "it cannot be read")?;
    Ok(bytes)
}
