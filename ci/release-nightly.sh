#!/usr/bin/env bash
# The tests of the library crates in release on the nightly toolchain: what a newer compiler makes of them when it optimises.
# Usage: release-nightly.sh [CRATE...]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo +nightly --version >/dev/null 2>&1 || { echo "skipped: no nightly toolchain"; exit 0; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/nightly
[ $# -gt 0 ] || set -- vmaple-rcu maple-tree vmaple-mm vmaple-smaps vmaple-proc
# Without debug information, of which nobody looks at any here.
export CARGO_PROFILE_RELEASE_DEBUG=0
# A fault that is wrongly taken for done is taken again for ever: so there is an end to it.
timeout 900 cargo +nightly test -q --release --locked "${@/#/--package=}"
