#!/usr/bin/env bash
# The contract of readers of mappings and of pages beside writers, each checked for ten minutes, or as many seconds as the first argument
# says, in each store; and a million changes beside readers that are stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
export VMAPLE_CONTRACT_SECONDS=${1:-600}
cargo test --release --locked -p vmaple-conformance --test contract --test smaps_contract readers -- --nocapture
cargo test --release --locked -p vmaple-conformance --test frozen --test frozen_pages -- --nocapture
