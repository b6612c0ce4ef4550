#!/usr/bin/env bash
# Runs every check and closes with a line of counts: a check is a script here, or a test of cargo test.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
ci/install.sh || exit 1

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for check in fmt-lint test loom bare-metal package docs run; do
    echo "== ci/$check.sh"
    ci/$check.sh 2>&1 | tee "$log"
    if [ "${PIPESTATUS[0]}" -ne 0 ]; then
        failed=$((failed + 1))
        echo "== ci/$check.sh failed"
    elif grep -q '^skipped: ' "$log"; then
        skipped=$((skipped + 1))
    else
        passed=$((passed + 1))
    fi
    # The tests that it ran.
    while read -r ok bad ignored; do
        passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + ignored))
    done < <(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.*/\1 \2 \3/p' "$log")
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
