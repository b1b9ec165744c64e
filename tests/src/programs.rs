//! Where the programs under test are: built once for each run of the tests, or given.
//!
//! Cargo names a package's own programs to its tests, but not those of other packages. This file alone reads the
//! environment of the tests.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Returns the directory with `keyfobd` and `keyfob`: `KEYFOB_BIN_DIR` if that is set, else the target directory, after
/// building them.
///
/// # Panics
/// Panics where they cannot be built.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| variable("KEYFOB_BIN_DIR").map_or_else(build, PathBuf::from))
}

/// Returns a program of this package. Cargo builds it along with the tests, and for another program it is built now.
///
/// # Panics
/// Panics where it cannot be built.
pub fn own(name: &str) -> PathBuf {
    let program = profile().join(name);
    if !program.exists() {
        cargo(&["-p", "integration-tests", "--bin", name]);
    }
    program
}

/// Returns the shim as it is meant to be installed, after building it for a target; nothing where the compiler has not got
/// that target's library.
///
/// # Panics
/// Panics where it cannot be built.
pub fn optimized_shim(target: &str) -> Option<PathBuf> {
    let mut rustc = Command::new(variable("RUSTC").unwrap_or_else(|| "rustc".into()));
    let told = rustc.args(["--print", "target-libdir", "--target", target]).output().expect("rustc runs");
    let library = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    if !told.status.success() || !library.is_dir() {
        return None;
    }
    let mut cargo = cargo_build(&["--profile", "shim", "-p", "keyfob", "--target", target]);
    // These would be instead of the flags that the workspace states for a target.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    run(&mut cargo);
    Some(target_directory().join(target).join("shim/keyfob"))
}

/// Returns the search path for programs that are not ours.
pub(crate) fn search_path() -> Option<OsString> {
    variable("PATH")
}

/// Returns the daemon with fail points, which lies beside the real one, after building it unless `KEYFOB_BIN_DIR` is set.
///
/// # Panics
/// Panics with the command that builds it where it is missing.
pub fn with_failpoints() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = directory().join("keyfobd-failpoints");
        if variable("KEYFOB_BIN_DIR").is_none() {
            cargo(&FAILPOINTS);
        }
        let command = FAILPOINTS.join(" ");
        assert!(program.exists(), "no {}: cargo build {command} makes it", program.display());
        program
    })
}

/// The packages are those of [`PROGRAMS`], so that what they depend on is built once.
const FAILPOINTS: [&str; 8] = [
    "-p",
    "keyfob-daemon",
    "-p",
    "keyfob",
    "--features",
    "keyfob-daemon/failpoints",
    "--bin",
    "keyfobd-failpoints",
];

const PROGRAMS: [&str; 5] = ["-p", "keyfob-daemon", "-p", "keyfob", "--bins"];

fn build() -> PathBuf {
    cargo(&PROGRAMS)
}

/// Lets cargo build something as this program was built, and returns the directory that it is in.
fn cargo(what: &[&str]) -> PathBuf {
    let profile = profile();
    let release: &[&str] = if profile.ends_with("release") { &["--release"] } else { &[] };
    run(&mut cargo_build(&[what, release].concat()));
    profile
}

/// Returns what lets cargo build something.
fn cargo_build(what: &[&str]) -> Command {
    let mut cargo = Command::new(variable("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet"])
        .args(what)
        .arg("--target-dir")
        .arg(target_directory())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo tells a test about its package is news to build scripts that look at it: they would all run again.
    for name in
        variables().filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        cargo.env_remove(name);
    }
    cargo
}

fn run(cargo: &mut Command) {
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "{cargo:?}: {status}");
}

/// Returns the directory that cargo builds in.
fn target_directory() -> PathBuf {
    profile().parent().expect("a profile's directory is in the target directory").to_owned()
}

/// Returns the directory that cargo built this program for.
fn profile() -> PathBuf {
    let this = env::current_exe().expect("the path of the running program");
    // target/PROFILE/deps/it-HASH for a test, target/PROFILE/demo for a program.
    let beside = this.parent().expect("a program is in a directory");
    if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside }.to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the environment in this package")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the environment in this package")]
fn variables() -> impl Iterator<Item = String> {
    env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}
