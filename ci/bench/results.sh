#!/usr/bin/env bash
# Makes the results in docs/results/ again: an hour on two CPUs that nothing else uses. `kernel`, `cure`, `cure-pages`, `freeze`,
# `scan` or `stall` makes only those.
. "$(dirname "$0")/../lib.sh"
cargo build --release --locked
release=$(uname -r | grep -oE '^[0-9]+\.[0-9]+')
what=${1:-all}
# run NAME OPTIONS: what the running kernel does has its version in the name.
run() {
    local out=docs/results/$1
    shift
    target/release/vmaple repro "$@" --yes-load --export-json "$out.json" --export-svg "$out.svg" --export-markdown "$out.md" |
        tee "$out.txt"
}
wanted() {
    [ "$what" = all ] || [ "$what" = "$1" ]
}
all=kernel,v5.4,v6.17,maple
models=v5.4,v6.17,maple
# Half an hour: every file of the running kernel.
if wanted kernel; then
    target/release/vmaple doctor | tee "docs/results/linux-$release.doctor.txt"
    run "linux-$release" --target kernel --file maps,smaps,smaps_rollup,pagemap,none --busy 0,1,10,100,1000 --samples 5 --duration 10s
fi
# The talk's two tables, ten minutes: maps and smaps.
if wanted cure; then
    run cure --target $all --file maps,smaps --busy 0,1,10,100 --samples 3 --duration 3s
fi
# Ten minutes: the files that are read under the lock of the whole address space also where maps and smaps are not.
if wanted cure-pages; then
    run cure-pages --target $all --file smaps_rollup,pagemap --busy 0,1,10,100 --samples 3 --duration 3s
fi
# Ten minutes: readers that are stopped.
if wanted freeze; then
    run freeze --target $models --file maps,smaps,smaps_rollup,pagemap --freeze --busy 0,1,100 --samples 2 --duration 2s
fi
# Eight minutes, as root: what the process that is read has of it if smaps is read by BPF, boosted, or as it is.
if wanted scan; then
    run scan --target kernel --file smaps,none --scanner proc,bpf,boosted --busy 0,1,10,50,100 --samples 3 --duration 3s
fi
# Half a minute, as root: one second of a stall as two time lines, the README's picture.
if wanted stall; then
    stall() { cargo run --release --locked -q -p vmaple-repro --example stall -- "$@"; }
    stall measure docs/results/stall.json
    for theme in light dark; do
        stall draw docs/results/stall.json $theme >docs/results/stall-$theme.svg
    done
fi
