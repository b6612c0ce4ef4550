#!/usr/bin/env bash
# Compiles the maple tree that fetch.sh put into DIR, and what is around it, into OUT/libcmt.a.
# To be linked with -lurcu-memb -lurcu-common. CMT_CFLAGS is added to the compiler's options (test.sh: sanitizers).
# Usage: build.sh DIR OUT
set -euo pipefail
[ $# = 2 ] || { echo "usage: build.sh DIR OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 out=$2
[ -s "$dir/lib/maple_tree.c" ] || { echo "build.sh: no $dir/lib/maple_tree.c: run fetch.sh $dir" >&2; exit 1; }
mkdir -p "$out/stubs"

# Headers of the kernel that maple_tree.c includes: shim.h has what it needs of them, so they are empty.
for h in asm/barrier linux/{bitmap,bug,compiler,err,export,gfp,kconfig,lockdep,rcupdate,slab,spinlock} linux/sched/mm \
    trace/events/maple_tree; do
    mkdir -p "$out/stubs/${h%/*}"
    : >"$out/stubs/$h.h"
done

# The kernel's options where they bear on speed: -O2, no strict aliasing, wrapping overflow, no link-time optimisation. -fPIE is
# for the linker of Rust.
# shellcheck disable=SC2086
compile() {
    "${CC:-gcc}" -std=gnu11 -O2 -g -fPIE -fno-strict-aliasing -fno-strict-overflow -fno-delete-null-pointer-checks \
        -fno-stack-protector ${CMT_CFLAGS:-} "$@"
}
kernel=(-include "$here/shim.h" -I "$out/stubs" -I "$dir/include")
compile -c "${kernel[@]}" "$dir/lib/maple_tree.c" -o "$out/maple_tree.o"
compile -c "${kernel[@]}" -Wall "$here/cmt.c" -o "$out/cmt.o"
compile -c -Wall -Wextra "$here/shim.c" -o "$out/shim.o"
rm -f "$out/libcmt.a"
"${AR:-ar}" rcs "$out/libcmt.a" "$out"/{maple_tree,cmt,shim}.o
