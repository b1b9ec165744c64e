#!/usr/bin/env bash
# The whole check of a change: format, dependencies, lints, then every test, the stories with real components included.
# It installs what the stories need (tests/real/install.sh) and takes a few minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

# Nothing in here may wait for a person.
exec </dev/null
# The stories wait more than they work: eight at a time take a third of the time that two do.
export CARGO_TERM_COLOR=never CARGO_NET_RETRY=5 RUST_TEST_THREADS=8

step() {
    echo
    echo "== $* (after $SECONDS s)"
}

step 'installing what the stories need'
tests/real/install.sh

step 'format'
cargo fmt --all --check
cargo fmt --manifest-path tests/fuzz/Cargo.toml --check

if command -v cargo-deny >/dev/null; then
    step 'licences, sources and duplicates of dependencies'
    cargo deny --workspace --config .deny.toml check bans licenses sources
    cargo deny --manifest-path tests/fuzz/Cargo.toml --config .deny.toml check licenses sources
fi

step 'lints'
cargo clippy --workspace --all-targets -- -D warnings
# They are run by a command of their own, tests/fuzz/run.sh, and must still fit what they fuzz.
RUSTFLAGS='--cfg fuzzing' CARGO_TARGET_DIR=target/fuzz \
    cargo clippy --locked --manifest-path tests/fuzz/Cargo.toml --bins -- -D warnings

step 'programs'
cargo build -p keyfob-daemon -p keyfob --bins
# With the packages of the above, so that what they depend on is built once.
cargo build -p keyfob-daemon -p keyfob --features keyfob-daemon/failpoints --bin keyfobd-failpoints

step 'tests'
cargo test --workspace
