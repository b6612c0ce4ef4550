#!/usr/bin/env bash
# The torture test of crates/rcu for ten minutes, or as many seconds as the first argument says.
set -euo pipefail
cd "$(dirname "$0")/.."
VMAPLE_TORTURE_SECONDS=${1:-600} cargo test --release --locked -p vmaple-rcu --test torture -- --nocapture
