#!/usr/bin/env bash
# Runs the tests of the library crates under Miri, which sees undefined behaviour that no sanitizer sees. Tests of threads run with
# many seeds: each is another order of the threads, with other stores seen late. Needs nightly with Miri and rust-src.
# Usage: miri.sh [short | CRATE...]     short: a part of seconds
. "$(dirname "$0")/../lib.sh"
cargo +nightly miri --version >/dev/null 2>&1 || { echo "skipped: no nightly toolchain with Miri"; exit 0; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
part=whole
[ "${1:-}" = short ] && { part=short; shift; }
[ $# -gt 0 ] || set -- rcu maple-tree mm proc

# miri SEEDS CARGO-TEST-ARGUMENTS...: runs with this many seeds
miri() {
    local seeds=$1
    shift
    echo "== miri, $seeds seeds: $*"
    MIRIFLAGS="-Zmiri-many-seeds=0..$seeds ${flags:-}" cargo +nightly miri test -q --locked "$@"
}

rcu() {
    if [ "$part" = short ]; then
        miri 4 -p vmaple-rcu --test nested_read
        return
    fi
    miri 32 -p vmaple-rcu --test nested_read
    miri 8 -p vmaple-rcu --test kernel_port
    miri 1 -p vmaple-rcu --test domain -- --skip a_frozen_reader --skip births_alone --skip a_reader_that_wakes --skip slots_are_reused \
        --skip many_readers
}

maple-tree() {
    # What embedders copy: the fences of a kernel's RCU.
    [ "$part" = short ] && { miri 8 -p maple-tree --test in_a_kernel what_a_section_has_found; return; }
    miri 32 -p maple-tree --test in_a_kernel --test nested
    miri 4 -p maple-tree --test concurrent
    miri 1 -p maple-tree --test drop_count --test print
}

mm() {
    local units=(copy:: notice:: pgtable::counters tests::races::a_fault tests::races::a_stale tests::races::a_page_of_zeros tests::races::a_write_to tests::races::the_second)
    # Tables are found through the addresses in entries, so provenance is exposed.
    if [ "$part" = short ]; then
        miri 1 -p vmaple-mm --lib -- "${units[@]}"
        return
    fi
    miri 4 -p vmaple-mm --lib -- "${units[@]}"
    miri 8 -p vmaple-mm --test coherence
    miri 2 -p vmaple-mm --test frames -- --skip no_frame_is_two_threads --skip memory_is_taken --skip there_are_no_more
}

proc() {
    # It has no unsafe code; what counts is what it does to page tables and sections.
    [ "$part" = short ] || miri 1 -p vmaple-conformance --test superseded
}

for crate in "$@"; do "$crate"; done
