#!/usr/bin/env bash
# Runs the whole test suite again and again: a test that fails once in a hundred runs is a bug. Every second run shares the machine
# with a full load: on each CPU a loop that spins and starts short-lived processes. Names each test that failed, and keeps the
# output of its run.
# Usage: repeat.sh [RUNS]     50 by default; some minutes each
. "$(dirname "$0")/../lib.sh"
set +e
runs=${1:-50}
logs=${CARGO_TARGET_DIR:-target}/repeat
export CARGO_TERM_COLOR=never
rm -rf "$logs"
mkdir -p "$logs"
cargo test --workspace --locked --no-run || exit 1

# Spins until this script has ended, however it ended.
spin() {
    while kill -0 $$ 2>/dev/null; do
        for _ in {1..20000}; do :; done
        /bin/true
    done
}
load=()
end_load() {
    [ ${#load[@]} -eq 0 ] || { kill "${load[@]}" && wait "${load[@]}"; } 2>/dev/null
    load=()
}
trap end_load EXIT
trap 'exit 130' INT TERM

failed=0
for run in $(seq "$runs"); do
    during=nothing
    if [ $((run % 2)) -eq 0 ]; then
        during="a full load"
        for _ in $(seq "$(nproc)"); do
            spin &
            load+=($!)
        done
    fi
    begin=$SECONDS
    if cargo test --workspace --locked --no-fail-fast >"$logs/$run" 2>&1; then
        verdict=passed
    else
        verdict="FAILED: $(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$logs/$run" | sort -u | paste -sd' ') ($logs/$run)"
        failed=$((failed + 1))
    fi
    end_load
    tests=$(sed -nE 's/^test result: .* ([0-9]+) passed; .*/\1/p' "$logs/$run" | awk '{ n += $1 } END { print n }')
    echo "run $run of $runs during $during: $verdict, $tests tests in $((SECONDS - begin)) s"
done
echo "$((runs - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
