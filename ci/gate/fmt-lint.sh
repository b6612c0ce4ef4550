#!/usr/bin/env bash
# Checks formatting and lints; warnings are errors.
. "$(dirname "$0")/../lib.sh"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# The embedded object was built from the sources next to it.
crates/scan/build-bpf.sh --check
# Without std, as a kernel builds it.
cargo clippy -p vmaple-rcu -p maple-tree -p vmaple-mm -p vmaple-smaps -p vmaple-proc --no-default-features --locked -- -D warnings
