#!/usr/bin/env bash
# What the memory model of C and Rust (RC11) says of ci/litmus/*.litmus: each file ends with what must be so. Uses herd7, or gets
# Debian's (herdtools7, in unstable only, with the C library that it wants) into the directory given, /tmp by default.
set -euo pipefail
cd "$(dirname "$0")/.."
herd=(herd7)
if ! command -v herd7 >/dev/null; then
    root=${1:-/tmp}/vmaple-herd
    libraries=$root/usr/lib/$(uname -m)-linux-gnu
    if [ ! -x "$root/usr/bin/herd7" ]; then
        rm -rf "$root"
        mkdir -p "$root"/apt/{lists/partial,cache/archives/partial,parts}
        touch "$root/apt/status"
        mirror=$({ cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
            grep -oE '[a-z]+://[^ ]*/debian/? *$' | head -n1)
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
for test in ci/litmus/*.litmus; do
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
