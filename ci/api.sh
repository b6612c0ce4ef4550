#!/usr/bin/env bash
# The public interface of crates/rcu is what crates/rcu/api.txt says; --bless writes it anew. With a released version to
# compare to, cargo semver-checks says what may follow it.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api
api=$(cargo +nightly public-api -p vmaple-rcu --simplified 2>/dev/null)
if [ "${1:-}" = --bless ]; then
    echo "$api" >crates/rcu/api.txt
else
    diff -u crates/rcu/api.txt <(echo "$api") || { echo "the interface has changed: if so intended, ci/api.sh --bless"; exit 1; }
fi
if git rev-parse -q --verify refs/tags/vmaple-rcu-release >/dev/null; then
    command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
    cargo semver-checks -p vmaple-rcu --baseline-rev vmaple-rcu-release
fi
