#!/usr/bin/env bash
# Measures a crate and its peers in one interleaved run.
# Usage: run.sh rcu [ROUNDS]                  vmaple-rcu and its peers; liburcu is installed where that is possible
#        run.sh maple-tree [ROUNDS [N...]]    maple-tree, its peers and Linux's maple tree, which is built from Debian's source
#        run.sh mm [ROUNDS]                   vmaple-mm and vmaple-proc, the running kernel, and the model of v5.4
#        run.sh pages [ROUNDS]                the same for pages: faults, populate, unmap, looks at pages
#        run.sh instructions                  instructions of a pair of munmap and mmap in the models, by callgrind
#        run.sh scan [ROUNDS]                 CPU time of a scan and of reading the kernel's files, as root
. "$(dirname "$0")/../lib.sh"
what=${1:-}
shift || true
bench() {
    cargo run --release --quiet --manifest-path benches/Cargo.toml --bin "$@"
}
case $what in
rcu)
    ls /usr/include/urcu.h /usr/include/*/urcu.h >/dev/null 2>&1 || need_packages liburcu-dev 2>/dev/null || true
    bench rcu_peers -- "${1:-5}"
    ;;
maple-tree)
    benches/maple-tree/linux/fetch.sh || echo "no kernel source: the rows of Linux's tree are left out" >&2
    version=benches/maple-tree/target/linux/VERSION
    [ ! -e $version ] || echo "Linux's tree is that of $(cat $version)."
    # Huge pages, and no memory given back between rounds: Linux's tree has both from its own allocator, so all get them.
    export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=8589934592:glibc.malloc.mmap_threshold=8589934592
    bench maple_tree_peers -- "$@"
    ;;
mm)
    bench mm_and_kernel -- "${1:-5}"
    ;;
pages)
    bench pages_and_kernel -- "${1:-5}"
    ;;
instructions)
    cargo build --release --quiet --manifest-path benches/Cargo.toml --bin mm_and_kernel
    count() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null benches/target/release/mm_and_kernel --one "$@" 2>&1 |
            sed -n 's/.*Collected : //p'
    }
    for mappings in 100 10000; do
        for model in v5.4 maple; do
            pair=$((($(count $model $mappings 20000) - $(count $model $mappings 0)) / 20000))
            echo "$mappings mappings, $model: $pair instructions a pair"
        done
    done
    ;;
scan)
    cargo run --release --quiet -p vmaple-scan --example beside_smaps -- "${1:-21}"
    ;;
*)
    echo "usage: run.sh rcu|maple-tree|mm|pages|instructions|scan [ROUNDS]" >&2
    exit 2
    ;;
esac
