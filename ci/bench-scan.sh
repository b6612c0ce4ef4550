#!/usr/bin/env bash
# What a scan of crates/scan costs beside /proc/PID/smaps, smaps_rollup and maps: CPU time, in turns, as the table of its README (root).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --release --quiet -p vmaple-scan --example beside_smaps -- "${1:-21}"
