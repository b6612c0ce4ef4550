#!/usr/bin/env bash
# Runs the tests of crates/scan that need a setting of the machine: 100,000 mappings, huge pages, merged pages, swap (in compressed
# memory). Changes the settings as root, and restores them however it ends.
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" = 0 ] || { echo "as root: it changes settings of the machine" >&2; exit 1; }
cargo test -q -p vmaple-scan --test settings --no-run

names=() values=() zram=""
restore() {
    for i in "${!names[@]}"; do
        echo "${values[i]}" > "${names[i]}" || echo "${names[i]}: ${values[i]} could not be put back" >&2
    done
    names=()
    if [ -n "$zram" ]; then
        swapoff "/dev/zram$zram" || true
        echo 1 > "/sys/block/zram$zram/reset"
        echo "$zram" > /sys/class/zram-control/hot_remove
        zram=""
    fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP

# at_least FILE VALUE: raises a setting. An unavailable one is left alone, and its test reports that.
at_least() {
    local before
    before=$(cat "$1" 2>/dev/null) || return 0
    [ "$before" -lt "$2" ] || return 0
    names+=("$1") values+=("$before")
    echo "$2" > "$1" || true
}
at_least /proc/sys/vm/max_map_count 200000
at_least /proc/sys/vm/nr_hugepages 8
at_least /sys/kernel/mm/ksm/pages_to_scan 10000
at_least /sys/kernel/mm/ksm/run 1
if [ "$(wc -l < /proc/swaps)" -lt 2 ] && [ -e /sys/class/zram-control/hot_add ]; then
    zram=$(cat /sys/class/zram-control/hot_add)
    echo 64M > "/sys/block/zram$zram/disksize"
    mkswap -q "/dev/zram$zram"
    swapon "/dev/zram$zram"
fi
cargo test -q -p vmaple-scan --test settings -- --nocapture
