#!/usr/bin/env bash
# Reads a trace of `vmaple scan --perfetto` with Perfetto's own definitions (PyPI's packages perfetto and protobuf), and compares each
# value with the JSON of the same round. Needs root. trace_processor itself is in no package, so queries are not tried.
. "$(dirname "$0")/../lib.sh"
need_packages python3-venv
cargo build -q --release --locked -p vmaple
dir=$(mktemp -d)
sleep 1000 &
target=$!
trap 'kill $target; rm -rf "$dir"' EXIT
python3 -m venv "$dir/python"
"$dir/python/bin/pip" -q install perfetto protobuf
code=0
timeout -s INT 3 "${CARGO_TARGET_DIR:-target}/release/vmaple" scan "$target" $$ --method bpf --every 200ms --quiet --format json \
    --perfetto "$dir/trace" >"$dir/rounds" || code=$?
[ "$code" -eq 124 ] || exit "$code"
"$dir/python/bin/python" - "$dir/trace" "$dir/rounds" <<'PYTHON'
import json, sys
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

trace = Trace()
trace.ParseFromString(open(sys.argv[1], "rb").read())
rounds = [json.loads(line) for line in open(sys.argv[2])]
smaps = [packet for packet in trace.packet if packet.HasField("smaps_packet")]
processes = [process for packet in trace.packet for process in packet.process_tree.processes]
assert len(smaps) == len(rounds) >= 4, (len(smaps), len(rounds))
assert len(processes) == 2 and [p.pid for p in processes] == [r["pid"] for r in rounds[:2]]
assert [list(p.cmdline) for p in processes] == [r["cmdline"] for r in rounds[:2]]
assert [p.timestamp for p in smaps] == sorted(p.timestamp for p in smaps)
columns = ["size", "rss", "anonymous", "swap", "shared_clean", "shared_dirty", "private_clean", "private_dirty", "locked", "pss",
           "pss_dirty"]
values = 0
for packet, found in zip(smaps, rounds):
    entries, mappings = packet.smaps_packet.packed_entries, found["mappings"]
    assert packet.smaps_packet.pid == found["pid"]
    assert [entries.string_table[name] for name in entries.name_id] == [mapping["name"] for mapping in mappings]
    for column in columns:
        ours = [int(mapping[column + "_bytes"]) >> 10 for mapping in mappings]
        assert list(getattr(entries, column + "_kb")) == ours, column
        values += len(ours)
print(f"{len(smaps)} scans, {values} values: equal")
PYTHON
