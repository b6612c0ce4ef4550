#!/usr/bin/env bash
# Makes the results in docs/results/ anew: 25 minutes on two CPUs that nothing else uses.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked
release=$(uname -r | grep -oE '^[0-9]+\.[0-9]+')
out=docs/results/linux-$release
target/release/vmaple doctor | tee "$out.doctor.txt"
target/release/vmaple repro --file maps,smaps,smaps_rollup,none --busy 0,1,10,100,1000 --samples 5 --duration 10s \
    --yes-load --export-json "$out.json" --export-svg "$out.svg" --export-markdown "$out.md" | tee "$out.txt"
