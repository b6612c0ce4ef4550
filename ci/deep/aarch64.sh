#!/usr/bin/env bash
# Tests crates/rcu with the oldest compiler that it supports (Rust 1.85, from Debian 13) on x86-64 and on aarch64, and
# crates/maple-tree on aarch64 (on x86-64 it needs 1.89 for AVX-512). aarch64 runs under QEMU's user emulation: x86 hides a missing
# acquire, and QEMU on x86 does not show every one either.
# Needs root, Debian's archive (found in this machine's own apt sources) and 2 GiB in DIR.
# Usage: aarch64.sh [DIR]     /tmp by default
. "$(dirname "$0")/../lib.sh"
root=${1:-/tmp}/vmaple-trixie
work=$root/src
if [ ! -e "$root/usr/bin/qemu-aarch64" ]; then
    command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; }
    mirror=$(debian_mirror)
    debootstrap --variant=minbase trixie "$root" "$mirror"
    cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/"
    chroot "$root" sh -ec 'dpkg --add-architecture arm64
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rustc cargo gcc libc6-dev \
            gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-dev:arm64 qemu-user'
fi
# A workspace of these crates alone, with its dependencies next to it: the others need a newer compiler.
rm -rf "$work"
mkdir -p "$work/.cargo"
git ls-files -z crates/rcu crates/maple-tree Cargo.toml Cargo.lock | xargs -0 cp --parents -t "$work"
sed -i 's|^members = .*|members = ["crates/rcu", "crates/maple-tree"]|; /^default-members/d; /^exclude/d' "$work/Cargo.toml"
(cd "$work" && cargo vendor --versioned-dirs vendor >.cargo/config.toml 2>/dev/null)
run() {
    echo "== $*"
    chroot "$root" env -C /src HOME=/src \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu' "$@"
}
run rustc --version
run cargo build --offline -p vmaple-rcu --no-default-features
run cargo test --offline -p vmaple-rcu
run cargo test --offline -p vmaple-rcu --target aarch64-unknown-linux-gnu
run cargo test --offline --ignore-rust-version -p maple-tree --target aarch64-unknown-linux-gnu
