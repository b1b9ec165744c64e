#!/usr/bin/env bash
# Fuzzes the places where bytes come in from outside. libFuzzer, with coverage and an address sanitizer, on the stable
# toolchain: RUSTC_BOOTSTRAP lets it use the two flags that it has not stabilised.
#
#   tests/fuzz/run.sh smoke              every target for 30 seconds, beginning with the corpus
#   tests/fuzz/run.sh TARGET SECONDS     one target; what it finds goes below target/fuzz/found
#   tests/fuzz/run.sh minimise TARGET    the corpus again, with what was found since and without what adds nothing
set -euo pipefail
cd "$(dirname "$0")"

readonly TARGETS=(answer callback config device discovery display http store token)
readonly TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
readonly OUT=$PWD/../../target/fuzz

# The longest input in bytes, and the longest time for one in seconds. Leaks are not looked for: a thread of the runtime that starts
# at the wrong moment is taken for one.
readonly LIMITS=(-max_len=8192 -timeout=10 -rss_limit_mb=2048 -detect_leaks=0)

build() {
    local flags=(
        --cfg fuzzing
        -Cpasses=sancov-module
        -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table
        -Cllvm-args=-sanitizer-coverage-trace-compares
        -Ccodegen-units=1
        -Zsanitizer=address
    )
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=$OUT \
        cargo build --locked --release --target "$TRIPLE" --bins
}

is_target() {
    [[ " ${TARGETS[*]} " == *" $1 "* ]]
}

# Runs a target for some seconds. What is new to it goes to the first directory; the corpus stays as it is.
fuzz() {
    local target=$1 seconds=$2
    local found=$OUT/found/$target crashes=$OUT/crashes/$target
    mkdir -p "$found" "$crashes"
    local dictionary=()
    [[ -e dictionaries/$target.dict ]] && dictionary=(-dict="dictionaries/$target.dict")
    echo "== $target for $seconds s"
    "$OUT/$TRIPLE/release/$target" "${LIMITS[@]}" "${dictionary[@]}" -max_total_time="$seconds" \
        -print_final_stats=1 -artifact_prefix="$crashes/" "$found" "corpus/$target" 2>&1 |
        tee "$OUT/$target.log" | grep -E '^(==|#[0-9]+.*DONE|stat::|thread|.*ERROR|SUMMARY|artifact)' || true
    # tee took the status.
    grep -q '^Done ' "$OUT/$target.log" || {
        tail -n 40 "$OUT/$target.log"
        echo "$target failed: see $OUT/$target.log and $crashes" >&2
        return 1
    }
}

minimise() {
    local target=$1 fewer=$OUT/fewer/$1
    rm -rf "$fewer"
    mkdir -p "$fewer" "$OUT/found/$target"
    "$OUT/$TRIPLE/release/$target" "${LIMITS[@]}" -merge=1 "$fewer" "corpus/$target" "$OUT/found/$target"
    # Seeds that people wrote have names; the rest is called by its hash.
    find "corpus/$target" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    for file in "$fewer"/*; do
        find "corpus/$target" -type f -exec cmp -s {} "$file" \; -print -quit | grep -q . ||
            cp "$file" "corpus/$target/"
    done
}

case ${1-} in
smoke)
    build
    for target in "${TARGETS[@]}"; do fuzz "$target" 30; done
    ;;
minimise)
    is_target "${2-}" || { echo "targets: ${TARGETS[*]}" >&2; exit 2; }
    build
    minimise "$2"
    ;;
*)
    is_target "${1-}" || { echo "usage: $0 smoke | TARGET SECONDS | minimise TARGET; targets: ${TARGETS[*]}" >&2; exit 2; }
    build
    fuzz "$1" "${2:?how many seconds}"
    ;;
esac
