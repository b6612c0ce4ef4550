#!/usr/bin/env bash
# How long RCU's grace periods take beside a scan that shares its CPU with busy tasks, on a kernel that is fully preemptible: Debian's,
# booted under QEMU with `preempt=full`, runs crates/scan/examples/grace_periods.rs. Prints its table.
# Needs root, Debian's archive and a machine with little else to do. Uses QEMU's emulation: only large differences mean something.
# Usage: grace-periods.sh [SECONDS [BUSY [SUITE:SERIES [PREEMPT]]]]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-25} busy=${2:-8} kernel=${3:-trixie:6.12} preempt=${4:-full}
packages=(qemu-system-x86 busybox-static cpio xz-utils)
dpkg -s "${packages[@]}" >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2
dir=${CARGO_TARGET_DIR:-target}/scan-kernels
mkdir -p "$dir/kernels"
ci/scan-kernels/fetch.sh "${kernel%:*}" "${kernel#*:}" "$dir/kernels/${kernel#*:}"
cargo build --release --locked --quiet -p vmaple-scan --example grace_periods
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,proc,sys}
cp "${CARGO_TARGET_DIR:-target}/release/examples/grace_periods" "$root/bin"
strip -g "$root/bin/grace_periods"
ldd "$root/bin/grace_periods" | grep -oE '/[^ :]+\.so[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
done
cp "$(type -P busybox)" "$root/bin/busybox"
cat >"$root/init" <<END
#!/bin/busybox sh
for each in proc:/proc sysfs:/sys devtmpfs:/dev debugfs:/sys/kernel/debug; do
    /bin/busybox mount -t "\${each%:*}" none "\${each#*:}"
done
/bin/busybox uname -srv
/bin/busybox cat /sys/kernel/debug/sched/preempt
/bin/grace_periods $seconds $busy
/bin/busybox poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/grace-periods.initramfs"
timeout $((600 + 8 * seconds)) qemu-system-x86_64 -accel tcg,thread=multi -machine hpet=off -cpu qemu64,-cx16 -m 2G -smp 2 -nographic -no-reboot \
    -kernel "$dir/kernels/${kernel#*:}/vmlinuz" -initrd "$dir/grace-periods.initramfs" \
    -append "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check preempt=$preempt" </dev/null | tr -d '\r' | grep -E '^(\||.*Linux |.*\(.*\))'
