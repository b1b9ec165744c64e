//! User stories against the real binaries, one file each.
