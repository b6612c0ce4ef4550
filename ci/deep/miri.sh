#!/usr/bin/env bash
# Runs the tests of the library crates under Miri, which sees undefined behaviour that no sanitizer sees. Tests of threads run with
# many seeds: each is another order of the threads, with other stores seen late. Needs nightly with Miri and rust-src.
# Usage: miri.sh [short | CRATE...]     short: a part of a minute
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
        miri 2 -p vmaple-rcu --test nested_read
        return
    fi
    miri 8 -p vmaple-rcu --test nested_read --test kernel_port
    # Without the long ones.
    miri 1 -p vmaple-rcu --test domain -- --skip a_frozen_reader --skip births_alone --skip a_reader_that_wakes --skip slots_are_reused \
        --skip many_readers
}

maple-tree() {
    # What embedders copy: the fences of a kernel's RCU.
    [ "$part" = short ] && { miri 4 -p maple-tree --test in_a_kernel what_a_section_has_found; return; }
    miri 16 -p maple-tree --test in_a_kernel what_a_section_has_found
    miri 8 -p maple-tree --test nested
    miri 1 -p maple-tree --test in_a_kernel --test drop_count --test print
    # crossbeam-epoch, which one of its readers uses, breaks the rules of stacked borrows.
    flags="-Zmiri-tree-borrows -Zmiri-permissive-provenance" miri 2 -p maple-tree --test concurrent
}

mm() {
    # Tables are found through the addresses in entries, so provenance is exposed.
    local flags=-Zmiri-permissive-provenance
    # Of the last the end is what counts: a thread and its address space go in one call.
    local short=(notice:: tests::races::no_frame_is_lost)
    [ "$part" = short ] && { miri 1 -p vmaple-mm --lib -- "${short[@]}"; return; }
    miri 1 -p vmaple-mm --lib -- "${short[@]}" copy:: tests::races::a_
    miri 1 -p vmaple-mm --test frames
    # It stores bytes of words. A Miri of before July 2026 ends at that where it shows stores late (rust-lang/miri#5185).
    flags+=" -Zmiri-disable-weak-memory-emulation" miri 1 -p vmaple-mm --test coherence
}

proc() {
    # It has no unsafe code; what counts is what it does to page tables and sections. Two more tests are mostly of its text.
    [ "$part" = short ] || flags=-Zmiri-permissive-provenance miri 1 -p vmaple-conformance --test superseded -- a_record a_roll_up
}

for crate in "$@"; do "$crate"; done
