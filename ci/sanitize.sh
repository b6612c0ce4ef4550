#!/usr/bin/env bash
# The tests of crates/rcu and crates/maple-tree under AddressSanitizer and ThreadSanitizer, which need a nightly toolchain.
# ThreadSanitizer does not understand fences: symmetric and asymmetric domains rest on them, so it is told by ci/tsan.supp
# what cannot be a race; the torture test's own plain memory stays under its eyes.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo +nightly --version >/dev/null 2>&1 || { echo "skipped: no nightly toolchain"; exit 0; }
target=$(rustc -vV | sed -n 's/^host: //p')
run() {
    local name=$1 flags=$2
    shift 2
    echo "== $name"
    RUSTFLAGS="$flags" CARGO_TARGET_DIR=target/$name "$@" \
        cargo +nightly test --locked -p vmaple-rcu --target "$target" --test domain --test torture --test reclaim
    RUSTFLAGS="$flags" CARGO_TARGET_DIR=target/$name "$@" \
        cargo +nightly test --locked -p maple-tree --target "$target" --test concurrent --test drop_count --test linux
}
run asan "-Zsanitizer=address" env ASAN_OPTIONS=detect_leaks=1
run tsan "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" env TSAN_OPTIONS="suppressions=$PWD/ci/tsan.supp"
