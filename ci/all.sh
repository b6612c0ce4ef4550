#!/usr/bin/env bash
# Runs every check and closes with a line of counts: a check is a script here, or a test of cargo test.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
ci/install.sh || exit 1

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for check in fmt-lint test loom docs run; do
    echo "== ci/$check.sh"
    ci/$check.sh 2>&1 | tee "$log"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "== ci/$check.sh failed"
    fi
    while read -r ok bad ignored; do
        passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + ignored))
    done < <(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.*/\1 \2 \3/p' "$log")
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
