#!/usr/bin/env bash
# vmaple-mm and vmaple-proc beside the running kernel and the v5.4 model, in one interleaved run. With --pages: faults, populate,
# unmap, looks at pages. With --instructions: what a
# pair of munmap and mmap takes, by callgrind, of the models (this needs valgrind, and does not see the kernel).
set -euo pipefail
cd "$(dirname "$0")/../benches/mm"
cargo build --release --quiet
bench=target/release/mm-beside-kernel
if [ "${1:-}" = --instructions ]; then
    count() { valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" --one "$1" "$2" "$3" 2>&1 | sed -n 's/.*Collected : //p'; }
    for mappings in 100 10000; do
        for model in v5.4 maple; do
            echo "$mappings mappings, $model: $((($(count $model $mappings 20000) - $(count $model $mappings 0)) / 20000)) instructions a pair"
        done
    done
elif [ "${1:-}" = --pages ]; then
    target/release/pages-beside-kernel "${2:-5}"
else
    "$bench" "${1:-5}"
fi
