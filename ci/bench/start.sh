#!/usr/bin/env bash
# Measures a start of `vmaple scan`: the first after a boot, and later ones, next to reading smaps_rollup with cat. Prints CPU time
# and the peak of resident memory: median (min, max). Each round makes one of each. Needs root; removes what /run/vmaple keeps.
# Usage: start.sh [ROUNDS]
. "$(dirname "$0")/../lib.sh"
rounds=${1:-11}
[ "$(id -u)" -eq 0 ] || { echo "start.sh: needs root" >&2; exit 1; }
need_packages time
cargo build --release --locked --quiet -p vmaple
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# measure NAME COMMAND...: adds a line of seconds of CPU and kilobytes.
measure() {
    local name=$1 TIMEFORMAT='%3U %3S'
    shift
    { time /usr/bin/time -f %M -o "$results/peak" "$@" >/dev/null; } 2>"$results/cpu"
    awk '{ getline peak <PEAK; print $1 + $2, peak }' PEAK="$results/peak" "$results/cpu" >>"$results/$name"
}

# column NAME NUMBER FACTOR: median (min, max).
column() {
    cut -d' ' -f"$2" "$results/$1" | sort -g |
        awk '{ a[NR] = $1 * f } END { printf "%.1f (%.1f, %.1f)", a[int((NR + 1) / 2)], a[1], a[NR] }' f="$3"
}

scan=(target/release/vmaple scan $$ --format rollup --quiet)
for _ in $(seq "$rounds"); do
    rm -f /run/vmaple/scan-*
    measure first "${scan[@]}"
    measure later "${scan[@]}"
    measure cat cat "/proc/$$/smaps_rollup"
done
echo "| start | CPU time, ms | peak of resident memory, MiB |"
echo "|---|--:|--:|"
for name in first later cat; do
    echo "| $name | $(column $name 1 1000) | $(column $name 2 0.0009765625) |"
done
