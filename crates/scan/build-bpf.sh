#!/usr/bin/env bash
# Builds bpf/scan.bpf.o, which the crate embeds, and records which sources it was built from, and by what.
#   build-bpf.sh            builds; installs Debian's clang, llvm and libbpf-dev where they are missing
#   build-bpf.sh --check    only says whether the object belongs to the sources; needs no clang
#   build-bpf.sh --rebuild  builds a second one, and says whether that is the same
set -euo pipefail
cd "$(dirname "$0")/bpf"
sources=(abi.h age.h arguments.h count.h kernel.h maple.h pages.h path.h scan.bpf.c state.h vma.h)
hash() { cat "$@" | sha256sum | cut -d' ' -f1; }
fail() { echo "$1: run crates/scan/build-bpf.sh" >&2; exit 1; }
read -r source object compiler < scan.bpf.o.sha256
check() {
    [ "$source" = "$(hash "${sources[@]}")" ] || fail "bpf/scan.bpf.o is not built from these sources"
    [ "$object" = "$(hash scan.bpf.o)" ] || fail "bpf/scan.bpf.o was changed by hand"
}
if [ "${1:-}" = --check ]; then
    check
    exit 0
fi
if ! command -v clang >/dev/null || ! command -v llvm-strip >/dev/null || [ ! -e /usr/include/bpf/bpf_core_read.h ]; then
    apt-get update -qq
    apt-get install -y -qq clang llvm libbpf-dev
fi
this=$(clang --version | head -n1)
build() {
    clang -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wno-missing-declarations -Werror -fdebug-prefix-map="$PWD=." \
        -c scan.bpf.c -o "$1"
    llvm-strip -g "$1"
}
if [ "${1:-}" = --rebuild ]; then
    check
    second=$(mktemp)
    trap 'rm -f "$second"' EXIT
    build "$second"
    if [ "$this" != "$compiler" ]; then
        echo "bpf/scan.bpf.o: built by $compiler, this is $this: it builds, and is not compared"
    elif [ "$(hash "$second")" != "$object" ]; then
        fail "bpf/scan.bpf.o is not what its sources give"
    else
        echo "bpf/scan.bpf.o is what its sources give"
    fi
    exit 0
fi
build scan.bpf.o
echo "$(hash "${sources[@]}") $(hash scan.bpf.o) $this" > scan.bpf.o.sha256
echo "bpf/scan.bpf.o: $(stat -c %s scan.bpf.o) bytes, by $this"
