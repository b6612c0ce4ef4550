#!/usr/bin/env bash
# Fuzzes crates/maple-tree against a naive model. Needs a nightly toolchain; installs cargo-fuzz.
# Usage: fuzz.sh [SECONDS]     60 by default
. "$(dirname "$0")/../lib.sh"
cd crates/maple-tree
need_nightly
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
cargo +nightly fuzz run edits -- -max_total_time="${1:-60}" -max_len=2048 -timeout=20
