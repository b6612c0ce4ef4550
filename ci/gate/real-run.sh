#!/usr/bin/env bash
# Runs the README's commands briefly, as a user would, and checks that no process is left.
. "$(dirname "$0")/../lib.sh"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cargo run --release --locked -- repro --busy 0,1 --samples 1 --duration 1s --file maps,none --details --export-json "$out/run.json" | tee "$out/table"
grep -q '#Busy    Median   Minimum   Maximum #Hangs' "$out/table"
cargo run --release --locked -- compare "$out/run.json"
cargo run --release --locked -- doctor
cargo run --release --locked -- scan $$ --format rollup | grep '^Pss:'
if grep -lsz __role /proc/[0-9]*/cmdline; then
    echo "processes were left behind" >&2
    exit 1
fi
