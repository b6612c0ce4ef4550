#!/usr/bin/env bash
# Runs for long what the gate runs for seconds.
# Usage: long.sh torture [SECONDS]        the torture test of crates/rcu; 600
#        long.sh contract [SECONDS]       what readers may see while writers work, in each store, 600 each, and with readers
#                                         that are stopped through a million changes
#        long.sh differential [CALLS]     random calls in the running kernel and in each store; 1,000,000, of several seeds.
#                                         To repeat one that differs: VMAPLE_SEED=... VMAPLE_CALLS=... cargo test
. "$(dirname "$0")/../lib.sh"
run() {
    cargo test --release --locked "$@"
}
case ${1:-} in
torture)
    VMAPLE_TORTURE_SECONDS=${2:-600} run -p vmaple-rcu --test torture -- --nocapture
    ;;
contract)
    VMAPLE_CONTRACT_SECONDS=${2:-600} run -p vmaple-conformance --test contract --test smaps_contract readers -- --nocapture
    run -p vmaple-conformance --test frozen --test frozen_pages -- --nocapture
    ;;
differential)
    runs=5
    # Two tests make this many calls each, and a third a quarter as many.
    export VMAPLE_CALLS=$((${2:-1000000} * 4 / 9 / runs))
    for _ in $(seq "$runs"); do
        run -p vmaple-conformance --test differential -- --nocapture --test-threads 1
    done
    ;;
*)
    echo "usage: long.sh torture|contract|differential [SECONDS|CALLS]" >&2
    exit 2
    ;;
esac
