#!/usr/bin/env bash
# Checks that each test binary which a script names is one of that package: the long checks run too seldom to tell.
. "$(dirname "$0")/../lib.sh"
failed=0
while IFS=$'\t' read -r script package binary; do
    directory=crates/${package#vmaple-}
    if ! [ -e "$directory/tests/$binary.rs" ] && ! [ -e "$directory/tests/$binary/main.rs" ]; then
        echo "$script: there is no $directory/tests/$binary"
        failed=$((failed + 1))
    fi
done < <(git ls-files -z ci '*.sh' | xargs -0 awk '
    FNR == 1 { package = "" }
    { for (i = 1; i < NF; i++) {
        if ($i == "-p" && $(i + 1) ~ /^[a-z]/) package = $(i + 1)
        if ($i == "--test" && $(i + 1) ~ /^[a-z]/ && package) print FILENAME "\t" package "\t" $(i + 1)
    } }')
[ "$failed" -eq 0 ] || exit 1
echo "passed: the scripts name tests that there are"
