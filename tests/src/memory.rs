//! A search for secrets in the memory of a process, as root can make it (proc(5), `/proc/PID/mem`).
//!
//! The thing to get wrong: to find nothing because nothing was looked at. Whoever searches has a secret among those that is
//! sure to be there, or looks at a time when all are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A secret, and what kind it is of.
#[derive(Clone)]
pub struct Marked {
    /// What people call it.
    pub kind: &'static str,
    /// Itself.
    pub bytes: Vec<u8>,
}

impl Marked {
    /// Marks a secret.
    pub fn new(kind: &'static str, secret: impl Into<Vec<u8>>) -> Self {
        Self { kind, bytes: secret.into() }
    }
}

/// How many copies of each kind of secret are where.
pub type Found = BTreeMap<&'static str, BTreeMap<Place, usize>>;

/// A part of a process's memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Pages that are never swapped.
    Locked,
    /// What the main thread allocates.
    Heap,
    /// The stack of the main thread.
    Stack,
    /// What other threads allocate, their stacks, and the data of libraries.
    Elsewhere,
}

/// Returns how many copies of secrets there are. Kinds of which there is none are not in it.
///
/// # Panics
/// Panics where the process is gone, or may not be looked at.
pub fn search(pid: u32, secrets: &[Marked]) -> Found {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root may look into every process");
    let mut found = Found::new();
    for mapping in mappings(pid) {
        let mut bytes = vec![0; mapping.length];
        // What has gone meanwhile holds nothing.
        if memory.read_exact_at(&mut bytes, mapping.start).is_err() {
            continue;
        }
        for secret in secrets {
            let count = count(&bytes, &secret.bytes);
            if count > 0 {
                *found.entry(secret.kind).or_default().entry(mapping.place.clone()).or_default() += count;
            }
        }
    }
    found
}

/// Returns how many copies of a kind there are in all.
pub fn copies(found: &Found, kind: &str) -> usize {
    found.get(kind).map_or(0, |places| places.values().sum())
}

struct Mapping {
    start: u64,
    length: usize,
    place: Place,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let listed = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("root may look at every process");
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in listed.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if let Some(last) = mappings.last_mut().filter(|_| flags.split(' ').any(|flag| flag == "lo")) {
                last.place = Place::Locked;
            }
            // Nobody can have written a secret where nobody can write.
            if !["rd", "wr"].iter().all(|wanted| flags.split(' ').any(|flag| flag == *wanted)) {
                mappings.pop();
            }
        } else if let Some(mapping) = mapping(line) {
            mappings.push(mapping);
        }
    }
    mappings
}

/// Reads the line that a mapping begins with; others have a colon.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let length = usize::try_from(u64::from_str_radix(end, 16).ok()? - start).ok()?;
    let place = match fields.nth(4) {
        Some("[heap]") => Place::Heap,
        Some("[stack]") => Place::Stack,
        Some(_) | None => Place::Elsewhere,
    };
    Some(Mapping { start, length, place })
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    let Some(first) = needle.first() else { return 0 };
    let mut rest = haystack;
    let mut count = 0;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        count += usize::from(rest.starts_with(needle));
        rest = &rest[1..];
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_what_is_on_the_heap_and_on_the_stack() {
        // In two halves, so that the program itself does not have it.
        let secret = ["CANARY-IN-", "MEMORY"].concat();
        let mut on_stack = [0; 16];
        on_stack.copy_from_slice(secret.as_bytes());
        let copy = secret.clone();
        let marked = [Marked::new("a", secret.as_bytes()), Marked::new("b", [7; 64])];
        let found = search(std::process::id(), &marked[..1]);
        assert!(copies(&found, "a") >= 4, "{found:?} {copy} {on_stack:?}");
        assert_eq!(copies(&found, "b"), 0);
    }

    #[test]
    fn every_copy_counts() {
        assert_eq!(count(b"aab aab aa aab", b"aab"), 3);
        assert_eq!((count(b"", b"a"), count(b"a", b"")), (0, 0));
    }
}
