#!/usr/bin/env bash
# The BPF program that crates/scan embeds belongs to its sources. With --rebuild it is built again (installing Debian's clang), and compared.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
"") crates/scan/build-bpf.sh --check ;;
--rebuild) crates/scan/build-bpf.sh --rebuild ;;
*) echo "ci/bpf.sh [--rebuild]" >&2; exit 2 ;;
esac
