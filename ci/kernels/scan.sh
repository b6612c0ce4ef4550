#!/usr/bin/env bash
# Runs `vmaple scan` and the tests of crates/scan on other kernels: boots Debian's kernels for clouds under QEMU with the command,
# the tests and little else. Closes with a table, and fails if a check fails.
# The default is one kernel below the oldest that the BPF program supports, those of two releases, and the newest of the last two
# major versions. It leaves out a kernel that the archive no longer has, and says so. Each kernel is booted again in lockdown, the
# last one also with page tables of five levels.
# Needs root, Debian's archive (found in this machine's own apt sources), 3 GiB in target/ and 2 GiB of memory. Uses KVM if KVM
# boots these kernels, and QEMU's emulation otherwise.
# Usage: scan.sh [SUITE:SERIES...]     e.g. scan.sh trixie:6.12 trixie-backports:6.17
. "$(dirname "$0")/../lib.sh"
kernels=("$@")
[ $# -gt 0 ] || kernels=(bullseye:5.10 bookworm:6.1 trixie:6.12 trixie-backports:6 trixie-backports:7)
dir=${CARGO_TARGET_DIR:-target}/scan-kernels
log=$dir/log
rm -rf "$log"
mkdir -p "$log"
packages=(qemu-system-x86 busybox-static bash cpio e2fsprogs kmod util-linux xz-utils)
need_packages "${packages[@]}"

# The root of all of them: the command, the tests, and the programs that they and `init` start, with their libraries.
root=$dir/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,etc,modules,proc,root,sys,tests,tmp,usr/bin,alone}
cargo build --release --locked -p vmaple
cargo test --release --locked -p vmaple-scan --no-run --message-format=json |
    sed -nE 's/.*"kind":\["(test|lib)"\].*"executable":"([^"]+)".*/\2/p' >"$dir/executables"
while read -r test; do
    name=${test##*/}
    cp "$test" "$root/tests/${name%-*}"
done <"$dir/executables"
cp "${CARGO_TARGET_DIR:-target}/release/vmaple" "$root/usr/bin"
strip -g "$root"/tests/* "$root/usr/bin/vmaple"
for program in bash cat dash mke2fs setpriv sleep timeout true unshare; do
    cp -L "$(type -P $program)" "$root/usr/bin/$program"
done
find "$root/usr/bin" "$root/tests" -type f -exec ldd {} + 2>/dev/null | grep -oE '/[^ :]+\.so[^ ]*' | sort -u |
    while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
busybox=$(type -P busybox)
cp "$busybox" "$root/bin/busybox"
cp "$busybox" "$root/alone/sleep" # by its name it is a sleep(1), of its own
"$busybox" --list | while read -r program; do
    [ -e "$root/usr/bin/$program" ] || [ "$program" = busybox ] || ln -s busybox "$root/bin/$program"
done
ln -sf ../usr/bin/dash "$root/bin/sh"
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
cp ci/kernels/init "$root/init"

# Packs the initramfs of a kernel: all that, and the modules for swap in memory, a file system on it, and layers of such.
pack() { # KERNEL
    local modules=$dir/kernels/$1/modules version module n=10
    rm -rf "$root/modules"
    mkdir "$root/modules"
    version=$(ls "$modules/lib/modules")
    depmod -b "$modules" "$version" 2>/dev/null
    for module in lzo-rle zram overlay; do
        modprobe -d "$modules" -S "$version" --show-depends $module 2>/dev/null || true
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$dir/modules"
    while read -r module; do
        case $module in
        *.xz) xz -dc "$module" >"$root/modules/$n.ko" ;;
        *) cp "$module" "$root/modules/$n.ko" ;;
        esac
        n=$((n + 1))
    done <"$dir/modules"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initramfs"
}

# Boots a kernel until its checks have ended; its output goes to the log. Under the emulation of QEMU 7.2 a guest dies now and then,
# and is booted again. The parameters make the kernel trust its clocks on a slow machine; emulation has no cmpxchg16b.
boot() { # LOG KERNEL CPU SECONDS PARAMETERS...
    local out=$log/$1.log kernel=$2 cpu=$3 seconds=$4 attempt
    shift 4
    for attempt in 1 2 3; do
        timeout "$seconds" qemu-system-x86_64 -accel "$accel" -machine hpet=off -cpu "$cpu" -m 2G -smp 2 -nographic -no-reboot \
            -kernel "$dir/kernels/$kernel/vmlinuz" -initrd "$dir/initramfs" \
            -append "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check LIMIT=1800 $*" </dev/null >"$out" 2>&1 || true
        sed -i 's/\r//g' "$out"
        ! grep -q '^@@ end' "$out" || return 0
        [ "$accel" != kvm ] || return 1
        echo "$out: ended before its checks did (attempt $attempt): $(grep -m1 'Kernel panic' "$out" || true)"
    done
    return 1
}

# KVM inside of a virtual machine may be of a kind that only boots kernels made for it.
columns=()
for kernel in "${kernels[@]}"; do
    code=0
    ci/kernels/fetch.sh "${kernel%:*}" "${kernel#*:}" "$dir/kernels/${kernel#*:}" || code=$?
    case $code in
    0) columns+=("${kernel#*:}") ;;
    3) echo "$kernel is left out" ;;
    *) exit 1 ;;
    esac
done
[ ${#columns[@]} -gt 0 ] || { echo "no kernel to boot" >&2; exit 1; }
pack "${columns[0]}"
accel=kvm
if ! [ -w /dev/kvm ] || ! boot probe "${columns[0]}" host 30 CHECKS=none 2>/dev/null; then
    accel=tcg,thread=multi
fi
echo "Boots by $accel."

failed=0
for kernel in "${columns[@]}"; do
    version=$(cat "$dir/kernels/$kernel/version")
    method=bpf checks=auto,texts,user
    case $version in
    [1-5].* | 6.0.*) method=boosted ;;
    *)
        checks+=,no-btf,capable,age,pages
        for test in "$root"/tests/*; do
            checks+=,tests-${test##*/}
        done
        checks+=,huge,unprivileged
        ;;
    esac
    pack "$kernel"
    echo "== $version"
    cpu=host
    [ "$accel" = kvm ] || cpu=qemu64,-cx16
    boot "$kernel-main" "$kernel" "$cpu" 7200 "METHOD=$method CHECKS=$checks" || { failed=1; echo "$version ended before its checks did"; }
    boot "$kernel-lockdown" "$kernel" "$cpu" 300 "METHOD=boosted CHECKS=lockdown lockdown=confidentiality" ||
        { failed=1; echo "$version in lockdown ended before its check did"; }
    # A processor with five levels is emulated; the kernel takes them by itself.
    if [ "$kernel" = "${columns[-1]}" ] && [ $method = bpf ]; then
        (accel=tcg,thread=multi && boot "$kernel-levels" "$kernel" max,-cx16 3600 "METHOD=$method CHECKS=pages,five-levels") ||
            { failed=1; echo "$version with five levels ended before its check did"; }
    fi
    cat "$log/$kernel"-*.log | sed -n 's/^.*@@ \([^|]*\)|\(.*\)/\1: \2/p'
done

# A row for each check, a column for each kernel. FAILED comes before ok.
echo
{ printf '| check |'; for kernel in "${columns[@]}"; do printf ' %s |' "$(sed 's/-.*//' "$dir/kernels/$kernel/version")"; done; echo; }
{ printf '|---|'; for kernel in "${columns[@]}"; do printf -- '---|'; done; echo; }
cat "$log"/*.log | sed -nE 's/^.*@@ ([^|]*)\|.*/\1/p' | awk '!seen[$0]++' | while read -r check; do
    printf '| %s |' "$check"
    for kernel in "${columns[@]}"; do
        cell=$(cat "$log/$kernel"-*.log | sed -nE "s/^.*@@ $check\|([^|]*)\|([^|]*)\|.*/\1 \2/p" | LC_ALL=C sort | sed -n 1p)
        cell=${cell#ok }
        printf ' %s |' "${cell:--}"
    done
    echo
done
! grep -hE '@@ [^|]*\|FAILED' "$log"/*.log || failed=1
exit $failed
