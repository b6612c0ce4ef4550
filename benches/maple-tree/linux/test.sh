#!/usr/bin/env bash
# Fetches the tree if need be, checks it under AddressSanitizer and without, and prints rough times.
# Usage: test.sh [DIR]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../target/linux}
"$here/fetch.sh" "$dir"
run() {
    local name=$1
    shift
    CMT_CFLAGS="$*" "$here/build.sh" "$dir" "$dir/build-$name"
    "${CC:-gcc}" -O2 -g -Wall -Wextra "$@" "$here/selftest.c" "$dir/build-$name/libcmt.a" \
        -lurcu-memb -lurcu-common -lpthread -o "$dir/build-$name/selftest"
    timeout 300 "$dir/build-$name/selftest" check
    echo "passed: $name" >&2
}
run asan -fsanitize=address
run plain
cat "$dir/VERSION"
timeout 300 "$dir/build-plain/selftest" time
