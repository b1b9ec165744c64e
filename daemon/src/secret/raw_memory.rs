//! What safe Rust cannot do: take pages from the system, and wipe the environment. The one module with `unsafe` in it.
//!
//! Each `unsafe` says why it holds. The thing to get wrong: a compiler may leave out a write to memory that nobody reads
//! again, which is what wiping is.

use std::ffi::{CStr, OsStr, c_char};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};
use zeroize::Zeroize;

/// Pages of our own.
pub(super) struct Pages {
    /// They are zeros.
    pub(super) bytes: &'static mut [u8],
    /// Why they are not as they should be: locked, and in no core and no fork.
    pub(super) refused: Option<io::Error>,
}

/// Takes pages from the system, for good.
///
/// # Errors
/// Fails where it has none.
pub(super) fn pages(length: usize) -> io::Result<Pages> {
    let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the system chooses a place where nothing is.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), length, access, kind) }?;
    // SAFETY: the pages are ours and hold nothing yet; neither call changes what is in them.
    let (locked, hidden) = unsafe { (mlock(start, length), hide(start.cast(), length)) };
    let refused = locked.and(hidden).err();
    // SAFETY: they are zeros, which are bytes; nobody else knows of them, and nobody ever gives them back.
    let bytes = unsafe { slice::from_raw_parts_mut(start.cast(), length) };
    Ok(Pages { bytes, refused: refused.map(Into::into) })
}

/// Keeps pages out of cores, and out of copies of this process.
///
/// # Safety
/// The pages must be mapped.
#[cfg(target_os = "linux")]
unsafe fn hide(start: *mut u8, length: usize) -> rustix::io::Result<()> {
    use rustix::mm::Advice;
    // SAFETY: both change what others get of the pages, and nothing for us.
    unsafe {
        madvise(start.cast(), length, Advice::LinuxDontDump)?;
        madvise(start.cast(), length, Advice::LinuxWipeOnFork)
    }
}

/// # Safety
/// None is needed: other systems have no such advice.
#[cfg(not(target_os = "linux"))]
unsafe fn hide(_: *mut u8, _: usize) -> rustix::io::Result<()> {
    Ok(())
}

unsafe extern "C" {
    /// The variables as the system handed them over, until somebody changes one.
    static mut environ: *const *mut c_char;
}

/// Wipes the value of a variable where the system put it when this process was started, for it can be read from outside
/// there (`/proc/PID/environ`), and forgets the variable. Returns whether there is none any more: with more threads than
/// one nothing is done, for another may be reading it.
pub fn wipe_variable(name: &OsStr) -> bool {
    let is_alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if !is_alone || name.is_empty() || name.as_bytes().contains(&b'=') || name.as_bytes().contains(&0) {
        return false;
    }
    // SAFETY: there is no other thread that could read or change the variables meanwhile. They are an array that ends with
    // null, of texts that end with zero, in memory that this process may write to.
    unsafe {
        let mut variable = environ;
        while !variable.is_null() && !(*variable).is_null() {
            let text = CStr::from_ptr(*variable).to_bytes();
            let value = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(length) = value.map(<[u8]>::len) {
                let start = (*variable).cast::<u8>().add(text.len() - length);
                slice::from_raw_parts_mut(start, length).zeroize();
            }
            variable = variable.add(1);
        }
        std::env::remove_var(name);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_locked_and_in_no_core_and_no_fork() {
        let taken = pages(64 * 1024).unwrap();
        let start = format!("{:x}-", taken.bytes.as_ptr() as usize);
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let flags: Vec<_> = maps.lines().skip_while(|line| !line.starts_with(&start)).collect();
        let flags = flags.iter().find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        let has = |flag: &str| flags.split_whitespace().any(|one| one == flag);
        assert!(has("dd") && has("wf"), "{flags}");
        assert_eq!(has("lo"), taken.refused.is_none(), "{flags}");
    }

    #[test]
    fn a_variable_is_left_alone_where_another_thread_could_read_it() {
        std::thread::scope(|scope| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || stopped.recv().is_err());
            assert!(!wipe_variable("PATH".as_ref()));
            drop(stop);
        });
    }
}
