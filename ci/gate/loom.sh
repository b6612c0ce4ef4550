#!/usr/bin/env bash
# Runs the models under loom: the protocol of crates/rcu, publishing in crates/maple-tree, and of crates/mm the change counter, the
# pending range, VMA locks and page tables (the real code, with tables of two entries). Covers all interleavings with at most
# LOOM_MAX_PREEMPTIONS preemptions (3), except the gaps that crates/rcu/tests/loom/main.rs names.
. "$(dirname "$0")/../lib.sh"
export RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3} CARGO_TARGET_DIR=target/loom
cargo test --release --locked -p vmaple-rcu -p maple-tree --features loom --test loom
cargo test --release --locked -p vmaple-mm --features loom --lib
