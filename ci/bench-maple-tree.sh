#!/usr/bin/env bash
# maple-tree beside its peers and Linux's maple tree, in one interleaved run. Linux's tree is built from Debian's kernel source,
# which is fetched if it can be; without it its rows are missing.
# Usage: bench-maple-tree.sh [ROUNDS [N...]]
set -euo pipefail
cd "$(dirname "$0")/../benches/maple-tree"
linux/fetch.sh || echo "no kernel source: the rows of Linux's tree are left out" >&2
[ ! -e target/linux/VERSION ] || echo "Linux's tree is that of $(cat target/linux/VERSION)."
# Huge pages, and no memory given back between rounds: Linux's tree has both from its own allocator, so all get them.
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=8589934592:glibc.malloc.mmap_threshold=8589934592
cargo run --release --quiet -- "$@"
