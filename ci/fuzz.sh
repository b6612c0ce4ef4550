#!/usr/bin/env bash
# Fuzzes crates/maple-tree against a naive model for a minute, or as many seconds as the first argument says. Needs a nightly
# toolchain; installs cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/../crates/maple-tree"
cargo +nightly --version >/dev/null 2>&1 || { echo "skipped: no nightly toolchain"; exit 0; }
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
cargo +nightly fuzz run edits -- -max_total_time="${1:-60}" -max_len=2048 -timeout=20
