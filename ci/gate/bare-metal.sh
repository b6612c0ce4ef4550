#!/usr/bin/env bash
# Builds the crates for kernels without an operating system. With the stable compiler on x86-64 Linux: links and runs a program
# without std, libc and start code that uses all of them (ci/gate/bare-metal); std in any of them would prevent the link. With a
# nightly toolchain that has rust-src: builds the crates for targets that have no std at all.
# Usage: bare-metal.sh [TARGET...]     x86_64-unknown-none by default
. "$(dirname "$0")/../lib.sh"
[ $# -gt 0 ] || set -- x86_64-unknown-none
export CARGO_TARGET_DIR=$PWD/target/bare-metal
if [ "$(uname -sm)" = "Linux x86_64" ]; then
    flags="-C relocation-model=static"
    for argument in -nostartfiles -nostdlib -static; do flags+=" -C link-arg=$argument"; done
    RUSTFLAGS=$flags cargo build -q --release --locked --manifest-path ci/gate/bare-metal/Cargo.toml
    "$CARGO_TARGET_DIR/release/bare-metal"
else
    echo "skipped: the program is for x86-64 Linux"
fi
sysroot=$(rustc +nightly --print sysroot 2>/dev/null) || { echo "skipped: no nightly toolchain"; exit 0; }
[ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ] || { echo "skipped: the nightly toolchain has no rust-src"; exit 0; }
for target in "$@"; do
    for crate in vmaple-rcu maple-tree vmaple-mm vmaple-smaps vmaple-proc; do
        cargo +nightly build -q --locked -Zbuild-std=core,alloc --target "$target" -p "$crate" --no-default-features
        echo "$crate is built for $target"
    done
done
