#!/usr/bin/env bash
# Fetches the maple tree of the newest Linux that Debian has a source package of: three files of it, unpacked into DIR, and
# DIR/VERSION, which says where they are from. Does nothing if they are there. They are GPL-2.0 and stay out of the repository.
# Usage: fetch.sh [DIR]
#   LINUX_SUITE=sid   also looks into this suite (empty: only into those that apt is set up for). The tree allocates by sheaves
#                     since 7.0; linux/shim.h does not build older ones.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../target/linux}
suite=${LINUX_SUITE-sid}
files=(lib/maple_tree.c include/linux/maple_tree.h include/linux/xarray.h)

fail() { echo "fetch.sh: $*" >&2; exit 1; }

complete() {
    local f
    for f in VERSION "${files[@]}"; do
        [ -s "$dir/$f" ] || return 1
    done
}

if complete; then exit 0; fi
for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || fail "$tool not found: this needs Debian; elsewhere," \
        "put ${files[*]} of a Linux tree and a file VERSION into $dir"
done

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
command -v xz >/dev/null || missing+=(xz-utils)
dpkg -s liburcu-dev >/dev/null 2>&1 || missing+=(liburcu-dev)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || fail "${missing[*]} not installed: install them, or run this as root"
    { apt-get update -qq && apt-get install -y -qq "${missing[@]}"; } >/dev/null ||
        fail "apt-get install ${missing[*]} failed (see above)"
fi

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
tmp=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# apt keeps what it learns about another suite here, so that the machine's own view of its packages stays as it is.
mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/sources"
cp -r /etc/apt/sources.list /etc/apt/sources.list.d/. "$tmp/sources" 2>/dev/null || true
own=(-o Dir::State::Lists="$tmp/lists" -o Dir::Cache="$tmp/cache" -o Dir::Etc::SourceList=/dev/null
    -o Dir::Etc::SourceParts="$tmp/sources" -o Acquire::Languages=none -o APT::Sandbox::User= -qq)
apt-get "${own[@]}" update >&2 || echo "fetch.sh: apt-get update failed for some source (see above): going on" >&2
if [ -n "$suite" ]; then
    mirror=$(apt-get "${own[@]}" indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' |
        sed -n 's,^Debian/Debian ,,p' | sort -u | head -n 1)
    [ -n "$mirror" ] || fail "no Debian archive answered among apt's sources: add one, or see to the network"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$tmp/sources/$suite.list"
    apt-get "${own[@]}" update >&2 || fail "apt-get update with suite $suite failed (see above)"
fi

package=$(apt-cache "${own[@]}" pkgnames linux-source- | grep -E '^linux-source-[0-9]+\.[0-9]+$' | sort -V | tail -n 1 || true)
[ -n "$package" ] || fail "apt knows no package linux-source-N.M"
major=${package#linux-source-}
[ "${major%%.*}" -ge 7 ] || fail "the newest is $package, and this needs 7.0 or later: set LINUX_SUITE=sid"
(cd "$tmp" && apt-get "${own[@]}" download "$package" >&2) || fail "apt-get download $package failed (see above)"
deb=$(echo "$tmp/$package"_*.deb)
echo "fetch.sh: unpacking $package" >&2
dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$package.tar.xz" |
    tar -xJ -C "$dir" --strip-components=1 "${files[@]/#/$package/}" || fail "$package does not hold ${files[*]}"
dpkg-deb -f "$deb" Version | sed "s/^/$package /" >"$tmp/VERSION"
mv "$tmp/VERSION" "$dir/VERSION"
