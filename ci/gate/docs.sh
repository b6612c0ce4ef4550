#!/usr/bin/env bash
# Builds the documentation without warnings, and checks that the links in the project's own documents lead somewhere.
. "$(dirname "$0")/../lib.sh"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
status=0
for document in *.md docs/*.md docs/*/*.md; do
    while read -r link; do
        target=$(dirname "$document")/${link%%#*}
        [ -e "$target" ] || { echo "$document: nothing at $link"; status=1; }
    done < <(grep -oE '\]\([^)#:][^):]*\)|src(set)?="[^":]*"' "$document" | sed -E 's/^\]\(|\)$|^src(set)?="|"$//g')
done
exit $status
