#!/usr/bin/env bash
# Runs the tests of the library crates under AddressSanitizer and ThreadSanitizer, which need a nightly toolchain.
# ThreadSanitizer does not understand fences, on which symmetric and asymmetric domains rest. ci/deep/tsan.supp lists what cannot be
# a race; the plain memory of the torture test itself stays checked.
. "$(dirname "$0")/../lib.sh"
need_nightly
target=$(rustc -vV | sed -n 's/^host: //p')
run() {
    local name=$1 flags=$2
    shift 2
    echo "== $name"
    check() {
        RUSTFLAGS="$flags" CARGO_TARGET_DIR=target/$name "${environment[@]}" cargo +nightly test --locked --target "$target" "$@"
    }
    local environment=("$@")
    check -p vmaple-rcu --test domain --test torture --test reclaim
    check -p maple-tree --test concurrent --test drop_count --test linux
    check -p vmaple-mm --lib --test calls --test stores --test mmap_sem --test vma_lock --test arch --test frames
    check -p vmaple-conformance --test contract --test waits --test smaps_contract
    check -p vmaple-proc --test text --test pagemap
}
run asan "-Zsanitizer=address" env ASAN_OPTIONS=detect_leaks=1
run tsan "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" env TSAN_OPTIONS="suppressions=$PWD/ci/deep/tsan.supp"
