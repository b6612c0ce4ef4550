#!/usr/bin/env bash
# The documentation builds without warnings, and the links between the project's own documents lead somewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
status=0
for document in *.md docs/*.md; do
    while read -r link; do
        target=$(dirname "$document")/${link%%#*}
        [ -e "$target" ] || { echo "$document: nothing at $link"; status=1; }
    done < <(grep -oE '\]\([^)#:][^):]*\)|src(set)?="[^":]*"' "$document" | sed -E 's/^\]\(|\)$|^src(set)?="|"$//g')
done
exit $status
