#!/usr/bin/env bash
# Checks what would be published: each package has its licences and its description and no file of this workspace alone, and no
# user of one gets loom. Uploads nothing.
# Usage: package.sh [--verify | --licences]     --verify also builds each package from its own files, which takes minutes;
#                                               --licences only checks licences and sources of dependencies (installs cargo-deny)
. "$(dirname "$0")/../lib.sh"
if [ "${1:-}" = --licences ]; then
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    exec cargo deny check licenses bans sources
fi
passed=0 failed=0
# expect WHAT COMMAND...
expect() {
    if "${@:2}"; then
        passed=$((passed + 1))
    else
        echo "FAILED  $1"
        failed=$((failed + 1))
    fi
}
lists() { grep -qx -- "$2" <<<"$1"; }
lists_none_of() { ! grep -E -- "$2" <<<"$1"; }
for manifest in $(grep -L '^publish = false' crates/*/Cargo.toml); do
    name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n1)
    files=$(cargo package -q -p "$name" --list --locked --allow-dirty)
    for file in LICENSE-MIT LICENSE-APACHE Cargo.toml src/lib.rs; do
        [ "$name $file" = "vmaple src/lib.rs" ] && file=src/main.rs
        expect "$name: no $file" lists "$files" "$file"
    done
    for licence in LICENSE-MIT LICENSE-APACHE; do
        expect "$name: another $licence" cmp -s "$licence" "${manifest%/*}/$licence"
    done
    expect "$name: files of this workspace alone" lists_none_of "$files" '^(api\.txt|fuzz/|ci/|target/)'
    for field in description keywords categories license documentation; do
        expect "$name: no $field" grep -q "^$field\(\.workspace\)\? =" "$manifest"
    done
    expect "$name: loom in the Cargo.lock of its users" \
        lists_none_of "$(cargo tree -q --locked -p "$name" -e normal,build --target all --prefix none)" '^loom '
done
if [ "${1:-}" = --verify ]; then
    expect "cargo package" cargo package --workspace --exclude vmaple-conformance --locked --allow-dirty
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
