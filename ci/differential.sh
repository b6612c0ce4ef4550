#!/usr/bin/env bash
# A million random calls to the running kernel and to the address space of crates/mm, in runs of several seeds; or as many calls
# as the first argument says. A seed that found a difference repeats it: VMAPLE_SEED=... VMAPLE_CALLS=... cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=5
# Two tests do as many calls each, and a third a quarter of that.
export VMAPLE_CALLS=$((${1:-1000000} * 4 / 9 / runs))
for _ in $(seq "$runs"); do
    cargo test --release --locked -p vmaple-conformance --test differential -- --nocapture --test-threads 1
done
