//! A small disk of its own for a daemon, which can be filled, and mounted for reading alone, while the daemon runs.
//!
//! It is a file system in memory inside of a user and mount namespace, so it takes no privilege, and ends with this value.
//! A kernel that forbids such namespaces fails the story: a disk that cannot be filled proves nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the bytes of a disk are given out in.
pub const PAGE: usize = 4096;

/// The file that takes up space.
const FILLER: &str = "filler";

/// Mounts the disk, says so, and stays until its standard input ends.
const HOLD: &str = r#"mount -t tmpfs -o "size=$2,mode=0700" none "$1" && echo mounted && exec cat"#;

/// A small disk. It is gone with all that is on it when this is dropped.
#[derive(Debug)]
pub struct Disk {
    /// It keeps the namespace.
    holder: Child,
    /// Where the disk is inside of the namespace.
    point: PathBuf,
}

impl Disk {
    /// Makes a disk of this size, for who is started by [`Self::launcher`], in place of a directory, which is made.
    ///
    /// # Panics
    /// Panics where this machine forbids it.
    pub fn mount(point: &Path, size: usize) -> Self {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(point)
            .expect("the place of a disk can be made");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLD, "hold"])
            .arg(point)
            .arg(size.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux is there");
        let mut word = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut word).expect("the holder can be heard");
        if word != "mounted\n" {
            let mut complaint = String::new();
            let stderr = holder.stderr.take().expect("it is piped");
            BufReader::new(stderr).read_to_string(&mut complaint).expect("the holder can be heard");
            panic!("this machine gives no user and mount namespace, which the story needs: {complaint}");
        }
        Self { holder, point: point.to_owned() }
    }

    /// Returns how the daemon is started inside of the namespace, as [`crate::home::Home::launch_by`] takes it.
    pub fn launcher(&self) -> String {
        format!("exec {} \"$@\"\n", self.enter().join(" "))
    }

    /// Returns the path by which a file on the disk is reached from outside of the namespace.
    pub fn path(&self, below: &str) -> PathBuf {
        let inside = self.point.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(below)
    }

    /// Takes up all space but this many pages.
    pub fn fill_all_but(&self, pages: usize) {
        let path = self.path(FILLER);
        let mut filler =
            OpenOptions::new().create(true).append(true).open(&path).expect("a filler can be made");
        let full = loop {
            if let Err(error) = filler.write_all(&[0xff; PAGE]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        let size = filler.metadata().expect("it is open").len();
        let freed = u64::try_from(pages * PAGE).expect("a small number");
        filler.set_len(size.saturating_sub(freed)).expect("a file can be shortened");
    }

    /// Takes up all space.
    pub fn fill(&self) {
        self.fill_all_but(0);
    }

    /// Gives all the space back.
    pub fn free(&self) {
        fs::remove_file(self.path(FILLER)).expect("the filler is there");
    }

    /// Mounts it anew for reading alone.
    ///
    /// # Panics
    /// Panics while anybody has a file on it open for writing.
    pub fn forbid_writing(&self) {
        self.remount("remount,bind,ro");
    }

    /// Mounts it anew for reading and writing.
    pub fn allow_writing(&self) {
        self.remount("remount,bind,rw");
    }

    fn remount(&self, options: &str) {
        let enter = self.enter();
        let output = Command::new(&enter[0])
            .args(&enter[1..])
            .args(["mount", "-o", options])
            .arg(&self.point)
            .output()
            .expect("nsenter of util-linux is there");
        assert!(output.status.success(), "mount -o {options}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn enter(&self) -> [String; 6] {
        let target = self.holder.id().to_string();
        ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", &target].map(str::to_owned)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A panic inside a drop would abort the tests.
        drop(self.holder.kill().and_then(|()| self.holder.wait()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_and_read_only_when_a_story_says_so() {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::mount(&home.path().join("disk"), 16 * PAGE);
        let write = |pages: usize| fs::write(disk.path("file"), vec![1; pages * PAGE]);
        write(1).unwrap();
        disk.fill_all_but(2);
        write(3).unwrap();
        assert_eq!(write(4).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.free();
        write(8).unwrap();
        disk.forbid_writing();
        assert_eq!(write(1).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::read(disk.path("file")).unwrap().len(), 8 * PAGE);
        disk.allow_writing();
        write(1).unwrap();
    }
}
