//! How the system enters this program, and where its memory comes from: the one module of the shim with `unsafe` in it.
//!
//! The standard library gets a program ready for threads, for stacks that overflow and for years of memory. The shim is done
//! in half a millisecond, a tenth of which that took. The thing to get wrong: what the standard library does for safety at
//! its start is not done here unless it stands here. What is not: a stack that overflows ends the program without a word,
//! `std::env::args` may be empty, and nothing flushes standard output at the end.

#![expect(unsafe_code, reason = "there is neither a way in nor an allocator without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{panic, process, ptr};

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::hardening;

/// How much memory is there from the start. A token of up to 12,000 bytes needs less.
const ARENA_SIZE: usize = 64 * 1024;

/// The exit code of a program that panicked, where panics unwind.
const PANICKED: c_int = 101;

#[global_allocator]
static MEMORY: Memory = Memory::new();

/// Where the system enters.
///
/// # Safety
/// What comes in is what a system hands to a program: so many texts, each of which ends with zero.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(dead_code, reason = "tests are entered elsewhere"))]
unsafe extern "C" fn main(count: c_int, texts: *const *const c_char) -> c_int {
    hardening::hold_standard_streams();
    // SAFETY: nothing runs in answer to the signal. Who writes to a reader that has gone is told by an error, and who is
    // started from here has the signal back: the standard library sees to that.
    if unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.is_err() {
        process::abort();
    }
    let argument = |index| {
        // SAFETY: that many texts are there, each of them ends with zero, and nobody changes them.
        let text = unsafe { CStr::from_ptr(*texts.add(index)) };
        OsStr::from_bytes(text.to_bytes()).to_owned()
    };
    let arguments: Vec<OsString> = (1..usize::try_from(count).unwrap_or_default()).map(argument).collect();
    // A panic must not get back to the system, which knows none.
    panic::catch_unwind(|| crate::run(&arguments)).map_or(PANICKED, c_int::from)
}

/// Memory that is there from the start, and then the system's. What the former has given it never gets back.
///
/// In this order `used` is on the page that is touched first anyway.
#[repr(C)]
struct Memory {
    used: AtomicUsize,
    arena: UnsafeCell<[u8; ARENA_SIZE]>,
}

// SAFETY: no byte of the arena is given twice, since who wants some moves `used` beyond it in one step.
unsafe impl Sync for Memory {}

impl Memory {
    const fn new() -> Self {
        Self { used: AtomicUsize::new(0), arena: UnsafeCell::new([0; ARENA_SIZE]) }
    }

    fn start(&self) -> *mut u8 {
        self.arena.get().cast()
    }

    /// Takes memory out of the arena; nothing if there is not enough.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let start = self.start();
        let end_of = |used: usize| {
            let place = (start.addr() + used).checked_next_multiple_of(layout.align())? - start.addr();
            Some((place, place.checked_add(layout.size()).filter(|end| *end <= ARENA_SIZE)?))
        };
        let step = |used| end_of(used).map(|(_, end)| end);
        let used = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        let (place, _) = end_of(used)?;
        Some(start.wrapping_add(place))
    }

    fn has(&self, memory: *mut u8) -> bool {
        (self.start().addr()..self.start().addr() + ARENA_SIZE).contains(&memory.addr())
    }
}

// Never inlined: there are thousands of places that allocate, and each would have both ways in it.
//
// SAFETY: what the arena gives is aligned, as large as asked for, and nobody else's; the rest is the system's allocator, which
// gets back what it gave and nothing else.
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for us.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if !self.has(memory) {
            // SAFETY: it is not the arena's, so the system gave it.
            unsafe { System.dealloc(memory, layout) }
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.has(memory) {
            // SAFETY: it is not the arena's, so the system gave it.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: who calls this makes sure that the size can be one of this alignment.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both are at least as long as the shorter of them, and the new one is nobody's yet.
            unsafe { ptr::copy_nonoverlapping(memory, new, layout.size().min(size)) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_nobody_elses_and_the_systems_once_the_arena_is_used_up() {
        let memory = Memory::new();
        let mut end = 0;
        for align in [1, 64, 2, 4096, 8] {
            let place = memory.take(Layout::from_size_align(3, align).unwrap()).unwrap();
            assert!(place.addr().is_multiple_of(align) && place.addr() >= end && memory.has(place));
            end = place.addr() + 3;
        }
        let large = Layout::from_size_align(ARENA_SIZE, 1).unwrap();
        assert_eq!(memory.take(large), None);
        // SAFETY: it is given back as it was taken.
        unsafe {
            let place = memory.alloc(large);
            assert!(!place.is_null() && !memory.has(place));
            memory.dealloc(place, large);
        }
    }

    #[test]
    fn what_grows_keeps_what_is_in_it_also_from_the_arena_to_the_system() {
        let memory = Memory::new();
        let sizes = [4, 100, ARENA_SIZE, 2 * ARENA_SIZE];
        let layout = |size| Layout::from_size_align(size, 4).unwrap();
        // SAFETY: what is read and written is what was asked for, and it is given back as it was last.
        unsafe {
            let mut place = memory.alloc(layout(sizes[0]));
            place.cast::<[u8; 4]>().write(*b"kept");
            for sizes in sizes.windows(2) {
                place = memory.realloc(place, layout(sizes[0]), sizes[1]);
                assert_eq!(&place.cast::<[u8; 4]>().read(), b"kept");
            }
            assert!(!memory.has(place));
            memory.dealloc(place, layout(sizes[3]));
        }
    }
}
