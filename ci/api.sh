#!/usr/bin/env bash
# The public interface of crates/rcu is what crates/rcu/api.txt says; --bless writes it anew. --semver REV: what
# may follow the interface of that revision, by cargo semver-checks.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = --semver ]; then
    command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
    exec cargo semver-checks -p vmaple-rcu --baseline-rev "$2"
fi
command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api
api=$(cargo +nightly public-api -p vmaple-rcu --simplified 2>/dev/null)
if [ "${1:-}" = --bless ]; then
    echo "$api" >crates/rcu/api.txt
else
    diff -u crates/rcu/api.txt <(echo "$api") || { echo "the interface has changed: if so intended, ci/api.sh --bless"; exit 1; }
fi
