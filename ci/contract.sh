#!/usr/bin/env bash
# The contract of readers beside writers, checked for ten minutes, or as many seconds as the first argument says, in each store.
set -euo pipefail
cd "$(dirname "$0")/.."
VMAPLE_CONTRACT_SECONDS=${1:-600} cargo test --release --locked -p vmaple-proc --test contract readers -- --nocapture
