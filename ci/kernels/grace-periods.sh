#!/usr/bin/env bash
# Measures RCU's grace periods while a scan shares its CPU with busy tasks, on a fully preemptible kernel: boots Debian's under
# QEMU with `preempt=full`, runs crates/scan/examples/grace_periods.rs there, and prints its table.
# Needs root, Debian's archive and an otherwise idle machine. QEMU emulates, so only large differences mean something.
# Usage: grace-periods.sh [SECONDS [BUSY [SUITE:SERIES [PREEMPT]]]]
. "$(dirname "$0")/../lib.sh"
seconds=${1:-25} busy=${2:-8} kernel=${3:-trixie:6.12} preempt=${4:-full}
packages=(qemu-system-x86 busybox-static cpio xz-utils)
need_packages "${packages[@]}"
dir=${CARGO_TARGET_DIR:-target}/scan-kernels
mkdir -p "$dir/kernels"
ci/kernels/fetch.sh "${kernel%:*}" "${kernel#*:}" "$dir/kernels/${kernel#*:}"
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
