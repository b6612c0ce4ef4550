#!/usr/bin/env bash
# Runs the tests of the library crates in release on the nightly toolchain: what a newer optimizer makes of them.
# Usage: release-nightly.sh [CRATE...]
. "$(dirname "$0")/../lib.sh"
need_nightly
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/nightly
[ $# -gt 0 ] || set -- vmaple-rcu maple-tree vmaple-mm vmaple-smaps vmaple-proc vmaple-conformance
# Without debug information, which nothing here reads.
export CARGO_PROFILE_RELEASE_DEBUG=0
# A fault that is wrongly taken for handled repeats for ever, hence the limit.
timeout 900 cargo +nightly test -q --release --locked "${@/#/--package=}"
