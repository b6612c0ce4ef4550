#!/usr/bin/env bash
# Measures how long programs take that tell the memory of many processes, in turns: vmaple, cat of smaps_rollup, smem, and a scrape of
# process-exporter. The processes are
#   sleeps   500 of sleep(1), and what else runs on the machine
#   shared   64 copies of one process, which share 4 GiB of small pages
# Prints wall-clock and CPU time, with starts, and peak resident memory: median (min, max). Then whose mmap_lock a scan took. Needs
# root, Debian's archive, and 5 GiB of memory.
# Usage: agents.sh [ROUNDS [GIB]]     5 rounds, 4 GiB
. "$(dirname "$0")/../lib.sh"
rounds=${1:-5} gib=${2:-4}
[ "$(id -u)" -eq 0 ] || { echo "agents.sh: needs root" >&2; exit 1; }
need_packages time smem prometheus-process-exporter curl linux-perf python3
cargo build -q --release --locked -p vmaple
vmaple=${CARGO_TARGET_DIR:-target}/release/vmaple
results=$(mktemp -d)
targets=() exporter=
end_targets() {
    [ ${#targets[@]} -eq 0 ] || { kill "${targets[@]}" && wait "${targets[@]}"; } 2>/dev/null || true
    targets=()
}
trap 'end_targets; kill $exporter 2>/dev/null; rm -rf "$results"' EXIT
trap 'exit 130' INT TERM

# measure NAME COMMAND...: adds a line of seconds, seconds of CPU, kilobytes.
measure() {
    local name=$1
    shift
    /usr/bin/time -f '%e %U %S %M' -o "$results/time" -- "$@" >/dev/null 2>&1 || true
    tail -n1 "$results/time" | awk '{ print $1, $2 + $3, $4 }' >>"$results/$name"
}

# The same of a scrape of process-exporter, which runs all the time.
ticks() { awk '{ print $14 + $15 }' "/proc/$exporter/stat"; }
scrape() {
    local before after began
    before=$(ticks) began=$EPOCHREALTIME
    curl -sf -o "$results/metrics" http://127.0.0.1:39256/metrics
    after=$(ticks)
    awk -v a="$began" -v b="$EPOCHREALTIME" -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v peak="$(
        awk '/^VmHWM/ { print $2 }' "/proc/$exporter/status"
    )" 'BEGIN { print b - a, t / hz, peak }' >>"$results/exporter"
}

# column NAME NUMBER FACTOR: median (min, max).
column() {
    cut -d' ' -f"$2" "$results/$1" | sort -g |
        awk '{ a[NR] = $1 * f } END { printf "%.0f (%.0f, %.0f)", a[int((NR + 1) / 2)], a[1], a[NR] }' f="$3"
}

row() { # NAME WHAT
    echo "| $2 | $(column "$1" 1 1000) | $(column "$1" 2 1000) | $(column "$1" 3 0.0009765625) |"
}

table() { # TITLE
    rm -f "$results"/{sums,groups,sampled,cat,smem,exporter}
    prometheus-process-exporter -web.listen-address 127.0.0.1:39256 -procnames sleep,python3 >/dev/null 2>&1 &
    exporter=$!
    until curl -sf -o /dev/null http://127.0.0.1:39256/metrics; do sleep 0.2; done
    "$vmaple" scan --all --format rollup >/dev/null 2>&1 || true # what a start learns is kept
    for _ in $(seq "$rounds"); do
        measure sums "$vmaple" scan --all --format rollup --quiet
        measure groups "$vmaple" scan --all --group-by name --quiet
        measure sampled "$vmaple" scan --all --group-by name --cpu 20ms --quiet
        measure cat sh -c 'cat /proc/[0-9]*/smaps_rollup'
        measure smem smem -c 'name pss uss'
        scrape
    done
    kill "$exporter"
    wait "$exporter" 2>/dev/null || true
    echo "| $1 | wall clock, ms | CPU, ms | peak, MiB |"
    echo "|---|--:|--:|--:|"
    row sums 'vmaple scan --all --format rollup'
    row groups 'vmaple scan --all --group-by name'
    row sampled 'the same, --cpu 20ms'
    row cat 'cat /proc/\*/smaps_rollup'
    row smem 'smem'
    row exporter 'process-exporter, a scrape'
    echo
}

for _ in $(seq 500); do
    sleep 10000 &
    targets+=($!)
done
sleep 1
table "500 sleeps"
perf record -q -e mmap_lock:mmap_lock_start_locking -o "$results/perf" -- "$vmaple" scan --all --format rollup --quiet \
    >/dev/null 2>&1 || true
perf script -i "$results/perf" -F trace 2>/dev/null | grep -o 'mm=[0-9a-fx]*' | sort | uniq -c |
    awk '{ n += $1; mm++ } END { printf "A scan of all took mmap_lock %d times, of %d address space(s): its own.\n\n", n, mm }'
end_targets

python3 - "$gib" <<'PYTHON' &
import mmap, os, sys, time
memory = mmap.mmap(-1, int(sys.argv[1]) << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(memory), 4096):
    memory[at] = 1
for _ in range(63):
    if os.fork() == 0:
        break
time.sleep(10000)
PYTHON
parent=$!
targets=("$parent")
until [ "$(pgrep -c -P "$parent")" -eq 63 ]; do sleep 1; done
mapfile -t children < <(pgrep -P "$parent")
targets+=("${children[@]}")
sleep 1
table "64 processes that share $gib GiB"
kernels=0
for pid in "${targets[@]}"; do
    kernels=$((kernels + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
done
ours=$("$vmaple" scan "${targets[@]}" --group-by name --format json --quiet 2>/dev/null)
sampled=$("$vmaple" scan "${targets[@]}" --group-by name --format json --cpu 50ms --quiet 2>/dev/null)
value() { grep -oE "\"$2\":[0-9]+" <<<"$1" | head -n1 | cut -d: -f2; }
echo "Pss of the 64: the kernel's sums $kernels kB; exact $(($(value "$ours" pss_bytes) / 1024)) kB;" \
    "with --cpu 50ms $(($(value "$sampled" pss_bytes) / 1024)) kB +- $(($(value "$sampled" pss_margin_bytes) / 1024)) kB"
kill "${targets[@]}"
targets=()

# Only its page tables are large: 200 GiB of a file of 64 MiB, mapped again and again.
python3 - <<'PYTHON' >"$results/ready" &
import ctypes, mmap, os, time
MIB = 64
file = os.memfd_create("frames")
os.ftruncate(file, MIB << 20)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
POPULATE_READ, NORESERVE, FIXED = 22, 0x4000, 0x10
start = libc.mmap(None, 200 << 30, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE, -1, 0)
for i in range((200 << 10) // MIB):
    at = start + (i * MIB << 20)
    assert libc.mmap(at, MIB << 20, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | FIXED, file, 0) == at
    assert libc.madvise(at, MIB << 20, POPULATE_READ) == 0
print("ready", flush=True)
time.sleep(10000)
PYTHON
huge=$!
targets=("$huge")
until [ -s "$results/ready" ]; do sleep 0.5; done
rm -f "$results"/{exact,part,cat}
for _ in $(seq "$rounds"); do
    measure exact "$vmaple" scan "$huge" --limit 60s --format rollup --quiet
    measure part "$vmaple" scan "$huge" --cpu 50ms --format rollup --quiet
    measure cat cat "/proc/$huge/smaps_rollup"
done
echo
echo "| 200 GiB of small pages | wall clock, ms | CPU, ms | peak, MiB |"
echo "|---|--:|--:|--:|"
row exact 'vmaple scan --format rollup'
row part 'the same, --cpu 50ms'
row cat 'cat /proc/PID/smaps_rollup'
echo
grep '^Pss:' "/proc/$huge/smaps_rollup"
"$vmaple" scan "$huge" --cpu 50ms --format rollup --quiet | grep '^Pss:'
