#!/usr/bin/env bash
# Makes the results in docs/results/ anew: 45 minutes on two CPUs that nothing else uses. `kernel`, `cure` or `freeze` makes
# only those.
set -euo pipefail
cd "$(dirname "$0")/.."
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
if [ "$what" = all ] || [ "$what" = kernel ]; then
    target/release/vmaple doctor | tee "docs/results/linux-$release.doctor.txt"
    run "linux-$release" --target kernel --file maps,smaps,smaps_rollup,none --busy 0,1,10,100,1000 --samples 5 --duration 10s
fi
if [ "$what" = all ] || [ "$what" = cure ]; then
    run cure --target kernel,v5.4,maple --file maps --busy 0,1,10,100,1000 --samples 5 --duration 10s
fi
if [ "$what" = all ] || [ "$what" = freeze ]; then
    run freeze --target v5.4,maple --freeze --busy 0,1,10,100 --samples 3 --duration 2s
fi
