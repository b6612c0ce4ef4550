#!/usr/bin/env bash
# Fetches a kernel for clouds from Debian's archive: the newest of a series that a suite has. Unpacks DIR/vmlinuz, DIR/version and,
# where the archive has them, DIR/modules. Does nothing if DIR is complete. Leaves the machine's own apt sources as they are.
# Exits with 3 if the suite has no kernel of that series.
# Usage: fetch.sh SUITE SERIES DIR     e.g. fetch.sh trixie 6.12 target/scan-kernels/6.12
. "$(dirname "$0")/../lib.sh"
suite=$1 series=$2
mkdir -p "$3"
dir=$(cd "$3" && pwd)
[ ! -s "$dir/version" ] || exit 0
fail() { echo "fetch.sh: $*" >&2; exit 1; }

tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/sources" "$tmp/debs" "$tmp/root"
: >"$tmp/status"
mirror=$(debian_mirror)
[ -n "$mirror" ] || fail "no Debian archive among apt's sources: add one"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$tmp/sources/one.list"
own=(-o Dir::State="$tmp" -o Dir::State::Lists="$tmp/lists" -o Dir::State::Status="$tmp/status" -o Dir::Cache="$tmp/cache"
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$tmp/sources" -o Dir::Etc::Preferences=/dev/null
    -o Dir::Etc::PreferencesParts=/dev/null -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -qq)
apt-get "${own[@]}" update >&2 || fail "apt-get update with suite $suite failed (see above)"

# Up to 6.18 linux-image-* holds the kernel and its modules; later linux-binary-* and linux-modules-* do. A name that others
# only mention cannot be downloaded.
found=
while read -r version; do
    for names in "linux-binary-$version linux-modules-$version" "linux-image-$version"; do
        # shellcheck disable=SC2086 # two names
        if (cd "$tmp/debs" && apt-get "${own[@]}" download $names) 2>/dev/null &&
            [ "$(du -sk "$tmp/debs" | cut -f1)" -gt 1000 ]; then # not the 2 kB that only depend on the others
            found=$version
            break 2
        fi
        rm -f "$tmp"/debs/*
    done
done < <(apt-cache "${own[@]}" pkgnames linux- |
    sed -nE "s/^linux-(image|binary)-(${series//./\\.}([.+-].*)?-cloud-amd64)\$/\2/p" | sort -ruV)
[ -n "$found" ] || { echo "fetch.sh: $suite has no kernel $series" >&2; exit 3; }
for deb in "$tmp"/debs/*.deb; do
    dpkg-deb -x "$deb" "$tmp/root"
    dpkg-deb -f "$deb" Version >"$tmp/version"
done
rm -rf "$dir/modules"
find "$tmp/root" -name 'vmlinuz*' -type f -exec cp {} "$dir/vmlinuz" \;
mkdir -p "$dir/modules/lib/modules"
find "$tmp/root" -path '*/lib/modules/*' -prune -exec mv {} "$dir/modules/lib/modules/" \;
[ -s "$dir/vmlinuz" ] || fail "the packages of $found hold no kernel"
mv "$tmp/version" "$dir/version"
