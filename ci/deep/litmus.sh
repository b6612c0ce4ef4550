#!/usr/bin/env bash
# Asks the memory model of C and Rust (RC11) about ci/deep/litmus/*.litmus: each file ends with the condition that must hold. Uses
# herd7, or fetches Debian's (herdtools7, in unstable only, with the C library that it wants) into DIR.
# Usage: litmus.sh [DIR]     /tmp by default
. "$(dirname "$0")/../lib.sh"
herd=(herd7)
if ! command -v herd7 >/dev/null; then
    root=${1:-/tmp}/vmaple-herd
    libraries=$root/usr/lib/$(uname -m)-linux-gnu
    if [ ! -x "$root/usr/bin/herd7" ]; then
        rm -rf "$root"
        mkdir -p "$root"/apt/{lists/partial,cache/archives/partial,parts}
        touch "$root/apt/status"
        mirror=$(debian_mirror)
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$root/apt/sources.list"
        apt=(apt-get -qq -o Dir::State="$root/apt" -o Dir::State::status="$root/apt/status" -o Dir::Cache="$root/apt/cache"
            -o Dir::Etc::sourcelist="$root/apt/sources.list" -o Dir::Etc::sourceparts="$root/apt/parts" -o APT::Sandbox::User=root)
        "${apt[@]}" update
        (cd "$root" && "${apt[@]}" download herdtools7 libc6 libgmp10)
        for package in "$root"/*.deb; do dpkg-deb -x "$package" "$root"; done
        rm -rf "$root"/{apt,*.deb}
    fi
    herd=("$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/bin/herd7"
        -set-libdir "$root/usr/share/herdtools7/herd")
fi
passed=0 failed=0
for test in ci/deep/litmus/*.litmus; do
    if verdict=$("${herd[@]}" -model rc11.cat "$test" 2>&1) && grep -qx Ok <<<"$verdict"; then
        echo "$(grep ^Observation <<<"$verdict") as expected"
        passed=$((passed + 1))
    else
        printf 'FAILED  %s\n%s\n' "$test" "$verdict"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
