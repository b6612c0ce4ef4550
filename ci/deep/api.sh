#!/usr/bin/env bash
# Compares the public interfaces of the library crates with their api.txt; needs nightly, installs two cargo commands.
# Usage: api.sh [--bless | --semver REV]     --bless writes api.txt again; --semver reports, by cargo semver-checks, what version
#                                            may follow the interfaces of REV
. "$(dirname "$0")/../lib.sh"
if [ "${1:-}" = --semver ]; then
    command -v cargo-semver-checks >/dev/null || cargo install --locked cargo-semver-checks
    exec cargo semver-checks -p vmaple-rcu -p maple-tree -p vmaple-mm -p vmaple-smaps -p vmaple-proc -p vmaple-scan -p vmaple-fuse --baseline-rev "$2"
fi
command -v cargo-public-api >/dev/null || cargo install --locked cargo-public-api
for crate in rcu:vmaple-rcu maple-tree:maple-tree mm:vmaple-mm smaps:vmaple-smaps proc:vmaple-proc scan:vmaple-scan fuse:vmaple-fuse; do
    golden=crates/${crate%:*}/api.txt
    api=$(cargo +nightly public-api -p "${crate#*:}" --simplified 2>/dev/null)
    if [ "${1:-}" = --bless ]; then
        echo "$api" >"$golden"
    else
        diff -u "$golden" <(echo "$api") || { echo "the interface has changed: if so intended, ci/deep/api.sh --bless"; exit 1; }
    fi
done
