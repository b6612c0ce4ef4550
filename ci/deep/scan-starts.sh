#!/usr/bin/env bash
# Checks that no start of the scan is refused by chance on a busy machine: runs self-tests and starts the command under a full load
# of all CPUs and short-lived processes of the same program. Needs root and minutes of CPU time.
# Usage: scan-starts.sh [SELF-TESTS [STARTS]]     1000 each by default
. "$(dirname "$0")/../lib.sh"
tests=${1:-1000} starts=${2:-1000}
VMAPLE_STARTS=$tests cargo test -q --release --locked -p vmaple-scan --lib -- --ignored --nocapture --exact \
    bpf::check::self_test::tests::a_thousand_starts_on_a_busy_machine_refuse_none
cargo build -q --release --locked -p vmaple
vmaple=${CARGO_TARGET_DIR:-target}/release/vmaple
children=()
trap 'kill "${children[@]}" 2>/dev/null || true' EXIT
for _ in $(seq "$(nproc)"); do
    (while kill -0 $$; do for _ in {1..100000}; do :; done; done) 2>/dev/null &
    children+=($!)
done
(while kill -0 $$; do "$vmaple" --version >/dev/null; done) 2>/dev/null &
children+=($!)
refused=0
for _ in $(seq "$starts"); do
    said=$("$vmaple" scan $$ --method bpf --format rollup --fields rss,pss 2>&1 >/dev/null) || {
        refused=$((refused + 1))
        echo "refused: $said"
    }
done
echo "$starts starts of the command, $refused refused"
[ "$refused" -eq 0 ]
