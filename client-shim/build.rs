//! How the static shim is linked: see `token.ld`. Not set for the target as a whole, which keyfobd and build scripts may be
//! built for as well.

#![expect(clippy::disallowed_methods, reason = "this is how cargo tells")]

use std::env;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=token.ld");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let is_static_shim = variable("CARGO_CFG_TARGET_ENV") == "musl"
        && variable("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && variable("CARGO_CFG_TARGET_OS") == "linux";
    // A linker without a C compiler in front of it takes other words, and the shim works without them.
    let linker = PathBuf::from(variable("RUSTC_LINKER"));
    let is_bare = linker.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("ld"));
    if is_static_shim && !is_bare {
        let script = Path::new(&variable("CARGO_MANIFEST_DIR")).join("token.ld");
        // Two segments instead of four are mapped sooner and share their pages. That makes constants executable, and leaves
        // writable what relro would shut after the start.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,noseparate-code,-z,norelro");
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
}
