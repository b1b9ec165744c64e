//! A file of ours that is open for writing, and knows its path for whoever reads an error.
//!
//! The thing to get wrong: what was written is on disk only after a sync, and one that failed may have dropped it. So
//! after a failure the whole file is written anew.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::store::directory::FileError;
#[cfg(test)]
use crate::store::directory::recorder::{Change, inode, note};

/// A file that is open for writing.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl OpenFile {
    /// Writes bytes at an offset.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        self.file.write_all_at(bytes, offset).map_err(|source| self.failed("write", source))?;
        #[cfg(test)]
        note(|| Change::Write { file: inode(&self.file), offset, bytes: bytes.to_vec() });
        Ok(())
    }

    /// Takes room on the disk, so that no write in it can lack some later. It reads as zeros.
    pub(crate) fn reserve(&self, length: u64) -> Result<(), FileError> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            Ok(()) => {
                #[cfg(test)]
                note(|| Change::Reserve { file: inode(&self.file), length });
                Ok(())
            }
            // Some file systems cannot. Then only bytes take room.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.fill_with_zeros(length),
            Err(errno) => Err(self.failed("take room for", errno.into())),
        }
    }

    /// Overwrites as many bytes with zeros.
    pub(crate) fn fill_with_zeros(&self, length: u64) -> Result<(), FileError> {
        let copied = io::copy(&mut io::repeat(0).take(length), &mut &self.file);
        copied.map_err(|source| self.failed("overwrite", source))?;
        #[cfg(test)]
        note(|| {
            let bytes = vec![0; usize::try_from(length).unwrap()];
            Change::Write { file: inode(&self.file), offset: 0, bytes }
        });
        Ok(())
    }

    /// Makes the file's bytes and its size durable.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        self.file.sync_all().map_err(|source| self.failed("sync", source))?;
        #[cfg(test)]
        note(|| Change::SyncFile { file: inode(&self.file) });
        Ok(())
    }

    /// Makes what was written within the file's size durable.
    pub(crate) fn sync_data(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(|source| self.failed("sync", source))?;
        #[cfg(test)]
        note(|| Change::SyncFile { file: inode(&self.file) });
        Ok(())
    }

    /// Says that something could not be done with the file.
    pub(crate) fn failed(&self, doing: &'static str, source: io::Error) -> FileError {
        FileError::Io { doing, path: self.path.clone(), source }
    }
}
