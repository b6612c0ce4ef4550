#!/usr/bin/env bash
# The protocol of crates/rcu, publishing in crates/maple-tree, and of crates/mm the change counter, the pending range, VMA locks, and
# page tables (the real code, with tables of two entries), under the interleavings that loom finds with three preemptions.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3} CARGO_TARGET_DIR=target/loom
cargo test --release --locked -p vmaple-rcu -p maple-tree --features loom --test loom
cargo test --release --locked -p vmaple-mm --features loom --lib
