#!/usr/bin/env bash
# Builds the objects of bpf/scan.bpf.c, which the crate embeds, and records which sources they were built from, and by what:
# bpf/loads.bpf.o for kernels with bpf_rdonly_cast() (6.2), bpf/copies.bpf.o for those without.
#   build-bpf.sh            builds; installs Debian's clang, llvm and libbpf-dev where they are missing
#   build-bpf.sh --check    only says whether the objects belong to the sources; needs no clang
#   build-bpf.sh --rebuild  builds them once more, and says whether they are the same
set -euo pipefail
cd "$(dirname "$0")/bpf"
sources=(abi.h age.h count.h kernel.h maple.h pages.h path.h scan.bpf.c state.h strings.h vma.h)
hash() { cat "$@" | sha256sum | cut -d' ' -f1; }
fail() { echo "$1: run crates/scan/build-bpf.sh" >&2; exit 1; }
objects=(loads.bpf.o copies.bpf.o)
read -r source built compiler < objects.sha256
check() {
    [ "$source" = "$(hash "${sources[@]}")" ] || fail "the objects in crates/scan/bpf are not built from its sources"
    [ "$built" = "$(hash "${objects[@]}")" ] || fail "an object in crates/scan/bpf was changed by hand"
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
# build DIRECTORY: all objects.
build() {
    local object loads=1
    for object in "${objects[@]}"; do
        clang -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -DLOADS="$loads" -Wall -Wno-missing-declarations \
            -Werror -fdebug-prefix-map="$PWD=." -c scan.bpf.c -o "$1/$object"
        llvm-strip -g "$1/$object"
        loads=0
    done
}
if [ "${1:-}" = --rebuild ]; then
    check
    second=$(mktemp -d)
    trap 'rm -r "$second"' EXIT
    build "$second"
    if [ "$this" != "$compiler" ]; then
        echo "the objects were built by $compiler, this is $this: they build, and are not compared"
    elif [ "$(cd "$second" && hash "${objects[@]}")" != "$built" ]; then
        fail "the objects in crates/scan/bpf are not what its sources give"
    else
        echo "the objects are what the sources give"
    fi
    exit 0
fi
build .
echo "$(hash "${sources[@]}") $(hash "${objects[@]}") $this" > objects.sha256
echo "${objects[*]}: $(stat -c %s "${objects[@]}" | paste -sd' ') bytes, by $this"
