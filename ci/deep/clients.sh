#!/usr/bin/env bash
# Gives programs that people use the tree of `vmaple mount --live`, next to /proc: what they print of a process that sleeps must be
# the same, and on the tree they must not take the process's mmap_lock. Needs root, /dev/fuse and Debian's archive.
# Usage: clients.sh
. "$(dirname "$0")/../lib.sh"
[ "$(id -u)" -eq 0 ] || { echo "clients.sh: needs root" >&2; exit 1; }
need_packages python3-psutil smem procps htop tmux prometheus-process-exporter curl linux-perf
cargo build -q --locked -p vmaple
vmaple=${CARGO_TARGET_DIR:-$PWD/target}/debug/vmaple
work=$(mktemp -d)
mkdir "$work/proc"
# A program that no other process runs, statically linked: what others do changes nothing of it.
cat >"$work/asleep.c" <<'C'
#include <sys/mman.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	char *memory = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(memory, 1, 40 << 20);
	mprotect(memory + (8 << 20), 4096, PROT_NONE);
	for (;;)
		pause();
}
C
cc -static -O1 -o "$work/asleep" "$work/asleep.c"
"$work/asleep" an argument &
target=$!
"$vmaple" mount --live "$work/proc" 2>"$work/log" &
server=$!
end() {
    kill "$target" 2>/dev/null || true
    tmux -L vmaple kill-server 2>/dev/null || true
    kill "$server" && wait "$server" || true
    rm -r "$work"
}
trap end EXIT
trap 'exit 130' INT TERM
until grep -q Ctrl-C "$work/log"; do
    kill -0 "$server" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.1
done

# Prints how often a command, and what else runs meanwhile, took the mmap_lock of each address space. Its output is in out and err.
spaces() {
    perf record -q -a -e mmap_lock:mmap_lock_start_locking -o "$work/perf" -- "$@" >"$work/out" 2>"$work/err" || true
    perf script -i "$work/perf" -F trace 2>/dev/null | grep -o 'mm=[0-9a-fx]*' | sort | uniq -c | awk '{ print $2, $1 }'
}
# The target's is the one whose lock is taken 40 times more by 50 reads than by 10.
reads() { # shellcheck disable=SC2046
    spaces cat $(yes "/proc/$target/smaps_rollup" | head -n "$1"); }
few=$(reads 10)
many=$(reads 50)
space=$(join <(echo "$few") <(echo "$many") | awk '$3 - $2 == 40 { print $1 }' | head -n1)
[ -n "$space" ] || { echo "the address space of the target was not found" >&2; exit 1; }

passed=0 failed=0
# compare NAME COMMAND...: with @ for the root.
compare() {
    local name=$1 locks theirs
    shift
    theirs=$("${@//@//proc}" 2>&1) || true
    locks=$(spaces "${@//@/$work/proc}" | awk -v mm="$space" '$1 == mm { n = $2 } END { print n + 0 }')
    if [ "$theirs" != "$(cat "$work/out" "$work/err")" ]; then
        echo "FAILED $name: not the same"
        diff <(echo "$theirs") <(cat "$work/out" "$work/err") | head -n 20
    elif [ -z "$theirs" ]; then
        echo "FAILED $name: prints nothing"
    elif [ "$locks" -ne 0 ]; then
        echo "FAILED $name: took the target's mmap_lock $locks times"
    else
        echo "passed $name: $(wc -l <<<"$theirs") lines, the target's mmap_lock taken 0 times"
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
}
in_tree() { # COMMAND...: the root is /proc itself
    if [ "$1" = /proc ]; then "${@:2}"; else "$vmaple" run --proc -- "${@:2}"; fi
}
export -f in_tree
export vmaple

cat >"$work/psutil.py" <<'PYTHON'
import psutil, sys
psutil.PROCFS_PATH = sys.argv[1]
p = psutil.Process(int(sys.argv[2]))
print(p.name(), p.exe(), p.cmdline(), p.environ(), p.username(), p.ppid(), p.status(), p.create_time(), p.num_fds(), p.threads())
print(p.memory_info(), p.memory_full_info(), sep="\n")
print(*p.memory_maps(grouped=False), *p.open_files(), sep="\n")
PYTHON
compare psutil python3 "$work/psutil.py" @ "$target"
compare smem bash -c "smem -S \$(dirname @) -P '^[^ ]*asleep' -H -c 'pid name command swap uss pss rss vss maps'"
for command in "ps -o pid,comm,args,rss,vsz,state,nlwp -p $target" "pmap -XX $target" "pmap -x $target" "pgrep -a asleep" "pwdx $target"; do
    compare "$command" bash -c "in_tree @ $command"
done

# Starts an exporter on a root and a port, and prints what it says of the target.
cat >"$work/exporter.sh" <<'SH'
root=$1 port=$2
prometheus-process-exporter -procfs "$root" -procnames asleep -web.listen-address "127.0.0.1:$port" >/dev/null 2>&1 &
until curl -fs "http://127.0.0.1:$port/metrics" >/dev/null; do sleep 0.2; done
curl -fs "http://127.0.0.1:$port/metrics" | grep -E '^namedprocess_namegroup_(memory_bytes|num_procs|num_threads|open_filedesc|worst)' | sort
kill $!
SH
compare process-exporter bash "$work/exporter.sh" @ 9257

# htop as people see it: its line of the target.
htop() {
    tmux -L vmaple -f /dev/null new-session -d -x 150 -y 40 "$1"
    sleep 3
    tmux -L vmaple capture-pane -p
    tmux -L vmaple kill-server
}
line() { grep -E "^ *$target " | awk '{ print $1, $2, $5, $6, $7, $8 }'; }
theirs=$(htop "htop -p $target" | line)
ours=$(htop "$vmaple run --proc -- htop -p $target" | line)
if [ -n "$theirs" ] && [ "$theirs" = "$ours" ]; then
    echo "passed htop: $ours"
    passed=$((passed + 1))
else
    echo "FAILED htop: '$theirs' and '$ours'"
    failed=$((failed + 1))
fi
[ "$(wc -l <"$work/log")" -eq 1 ] || { cat "$work/log"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
