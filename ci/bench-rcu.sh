#!/usr/bin/env bash
# vmaple-rcu beside its peers, in one interleaved run; liburcu is installed from the distribution if it can be.
set -euo pipefail
cd "$(dirname "$0")/../benches/rcu"
ls /usr/include/urcu.h /usr/include/*/urcu.h >/dev/null 2>&1 || { apt-get update -qq; apt-get install -y -qq liburcu-dev; } >/dev/null 2>&1 || true
cargo run --release --quiet -- "${1:-5}"
