//! Whether a user can be told from the others. Both sides of the socket take its owner for the same user by the uid alone.
//!
//! In a user namespace every user that is not mapped looks like user 65534 (user_namespaces(7)). The thing to get wrong:
//! where we look like that ourselves, whoever else does may be anybody.

use std::fs::{self, File};
use std::io::Read;
use std::str;

/// As whom Linux shows users that are not mapped, unless somebody changed it.
const OVERFLOW_UID: u32 = 65_534;

/// Where it says what it was changed to.
const OVERFLOW_UID_FILE: &str = "/proc/sys/kernel/overflowuid";

/// The users of this namespace: theirs here, theirs outside, and how many follow.
const UID_MAP: &str = "/proc/self/uid_map";

/// Tells whether nobody else can look like this user, which is us.
pub fn is_distinct(uid: u32) -> bool {
    uid != overflow_uid().unwrap_or(OVERFLOW_UID)
        || fs::read_to_string(UID_MAP).is_ok_and(|map| is_whole(&map))
}

/// Reads what it was changed to, in one go: the shim does so at each start, and a number is never in two parts.
fn overflow_uid() -> Option<u32> {
    let mut text = [0; 16];
    let length = File::open(OVERFLOW_UID_FILE).and_then(|mut file| file.read(&mut text)).ok()?;
    str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Tells whether every user is mapped, so that none looks like another.
fn is_whole(map: &str) -> bool {
    let mut lines = map.lines();
    let fields = lines.next().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    // There is no user 2^32 - 1: it is what calls take for "leave it as it is".
    fields.is_some_and(|fields| fields == ["0", "0", "4294967295"]) && lines.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_whole_only_where_everybody_is_in_it_l11() {
        assert!(is_whole("         0          0 4294967295\n"));
        for partial in [
            "",
            "\n",
            "65534 65534 1\n",
            "0 1000 1\n",
            "0 0 65536\n",
            "0 0 4294967295\n1 1 1\n",
            "0 1 4294967295\n",
            "1 0 4294967295\n",
        ] {
            assert!(!is_whole(partial), "{partial:?}");
        }
    }
}
