#!/usr/bin/env bash
# Scans all processes once a second for long, while processes around it start, fork, execute programs and are killed. Checks that
# the scanner's resident memory stays flat after the first sixth, and that it keeps no descriptor of a process that has ended, no
# other descriptor, and no mapping. Needs root.
# Usage: scan-soak.sh [SECONDS]     3600 by default
. "$(dirname "$0")/../lib.sh"
seconds=${1:-3600}
flat_kib=512
[ "$(id -u)" -eq 0 ] || { echo "scan-soak.sh: needs root" >&2; exit 1; }
cargo build -q --release --locked -p vmaple
vmaple=$(mktemp)
cp "${CARGO_TARGET_DIR:-target}/release/vmaple" "$vmaple" # a build meanwhile replaces it
chmod 755 "$vmaple"
seen=$(mktemp -d)
children=()
end() {
    kill "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null
    rm -rf "$vmaple" "$seen"
}
trap end EXIT
trap 'exit 130' INT TERM

# Until this script has ended: processes that fork others, execute a program while they are read, and are killed in their sleep.
restless() {
    while kill -0 $$ 2>/dev/null; do
        (exec sh -c 'exec sleep 0.3') &
        bash -c 'for i in 1 2 3; do (sleep 0.2; exec true) & done; wait' &
        sleep 100 &
        local killed=$!
        sleep 0.1
        kill -9 "$killed"
        wait
    done 2>/dev/null
}
for _ in 1 2; do
    restless &
    children+=($!)
done

"$vmaple" scan --all --every 1s --format json --quiet 2>"$seen/err" > >(grep -c . >"$seen/documents") &
scanner=$!
children+=("$scanner")
# Descriptors of processes that have ended, and those that are of no process.
descriptors() {
    local ended others
    ended=$(cat "/proc/$scanner/fdinfo/"* 2>/dev/null | grep -c '^Pid:[[:space:]]-1$' || true)
    others=$(find "/proc/$scanner/fd" -mindepth 1 -printf '%l\n' 2>/dev/null | grep -vcE '^/proc/[0-9]|pidfd' || true)
    echo "$ended $others"
}
for _ in $(seq $((seconds / 5))); do
    sleep 5
    rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$scanner/status")
    mappings=$(wc -l <"/proc/$scanner/maps")
    [ -n "$rss" ] || { echo "the scanner has ended:"; cat "$seen/err"; exit 1; }
    echo "$rss $(descriptors) $mappings" >>"$seen/samples"
done
cpu=$(awk '{ print ($14 + $15) / hz }' hz="$(getconf CLK_TCK)" "/proc/$scanner/stat")
kill -INT "$scanner"
wait "$scanner" || true
echo "$(cat "$seen/documents") processes scanned"
awk -v seconds="$seconds" -v cpu="$cpu" -v flat="$flat_kib" '
    { rss[NR] = $1; ended[NR] = $2; others[NR] = $3; mappings[NR] = $4 }
    function extremes(a, from, to,  i) {
        least = most = a[from]
        for (i = from; i <= to; i++) { if (a[i] < least) least = a[i]; if (a[i] > most) most = a[i] }
    }
    # Prints the least and the most in each half, and what is wrong if even the least (or the most) of the second is more than allowed.
    function compare(name, a, by_most, allowed,  first) {
        extremes(a, warm, half); printf "%s %d to %d in the first half", name, least, most
        first = by_most ? most : least
        extremes(a, half + 1, NR); printf ", %d to %d in the second\n", least, most
        if ((by_most ? most : least) > first + allowed) { print "GROWS: " name; grows = 1 }
    }
    END {
        warm = int(NR / 6) + 1; half = int((warm + NR) / 2)
        printf "%d s, %.1f s of CPU time\n", seconds, cpu
        compare("resident memory, KiB:", rss, 1, flat)
        # Some have ended since the last round.
        compare("descriptors of processes that have ended:", ended, 0, 10)
        compare("other descriptors:", others, 0, 0)
        compare("mappings:", mappings, 0, 0)
        exit grows
    }' "$seen/samples"
