#!/usr/bin/env bash
# Formatting and lints; warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# What is embedded was built from what stands beside it.
crates/scan/build-bpf.sh --check
# Without std, as a kernel builds it.
cargo clippy -p vmaple-rcu -p maple-tree -p vmaple-mm -p vmaple-smaps -p vmaple-proc --no-default-features --locked -- -D warnings
