#!/usr/bin/env bash
# Takes the rules of crates/rcu out one by one and expects a named test to fail: a proof that cannot fail proves nothing.
# Works on a copy; a minute or two.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z crates ci Cargo.toml Cargo.lock | xargs -0 cp --parents -t "$copy"
export CARGO_TARGET_DIR=$PWD/target/mutate
passed=0 failed=0

# mutate NAME FILE PERL-SUBSTITUTION TEST-BINARY TEST
mutate() {
    local name=$1 file=$copy/crates/rcu/src/$2 change=$3 binary=$4 test=$5 flags=""
    cp "$file" "$copy/original"
    perl -0pi -e "$change" "$file"
    if cmp -s "$file" "$copy/original"; then
        echo "FAILED  $name: the mutation does not apply any more"
        failed=$((failed + 1))
        return
    fi
    [ "$binary" = loom ] && flags="--cfg loom"
    if (cd "$copy" && RUSTFLAGS=$flags LOOM_MAX_PREEMPTIONS=3 timeout 300 \
        cargo test -q --release -p vmaple-rcu --test "$binary" -- --exact "$test" >"$copy/log" 2>&1); then
        echo "FAILED  $name: $test does not notice"
        failed=$((failed + 1))
    elif grep -q "^error\(\[\|: could not compile\)" "$copy/log"; then
        echo "FAILED  $name: does not compile"
        failed=$((failed + 1))
    else
        echo "noticed $name: $test"
        passed=$((passed + 1))
    fi
    cp "$copy/original" "$file"
}

keeps=a_reader_keeps_what_a_writer_replaces
extends=an_interval_is_extended_before_a_younger_object_is_used
mutate "no fence at the entry" read.rs 's/self\.domain\.fences\.light\(\);\s*true/true/' loom $keeps
mutate "no fence after an extension" read.rs 's/(slack\), Ordering::Relaxed\);)\s*self\.domain\.fences\.light\(\);/$1/' loom $extends
mutate "no fence before the look" reap.rs 's/if !shared\.fences\.heavy\(\)/if false/' loom $keeps
mutate "no extension" read.rs 's/if era <= self\.slot\(\)\.hi\.load\(Ordering::Relaxed\)/if true/' loom $extends
mutate "no loading again after an extension" read.rs 's/self\.extend\(anew, era, slack\);/self.extend(anew, era, slack); if slack == 0 { return pointer; }/' loom $extends
mutate "re-base while something is held" read.rs 's/if anew && self\.inner\.get\(\) == 0/if true/' loom $extends
mutate "re-base under an inner section" read.rs 's/ && self\.inner\.get\(\) == 0//' domain a_root_that_is_loaded_again_keeps_what_inner_sections_hold
mutate "a section ends without Release" read.rs 's/(return;\s*\}\s*\/\/ Release pairs[^\n]*\n\s*self\.slot\(\)\.lo\.store\(IDLE, Ordering::)Release/$1Relaxed/' loom $keeps
mutate "the look without Acquire" reap.rs 's/let lo = slot\.lo\.load\(Ordering::Acquire\)/let lo = slot.lo.load(Ordering::Relaxed)/' loom $keeps
mutate "births ignored" reap.rs 's/record\.retired\.birth <= s\.hi/true/' domain a_frozen_reader_holds_what_was_live_and_no_more
mutate "births not counted" update.rs 's/self\.count\(bytes\);\s*\/\/ Relaxed: this value alone advances it\.\s*self\.domain/self.domain/' domain births_alone_advance_the_era
mutate "no look again at what is parked" reap.rs 's/ready\.take\(&mut parked\.blocks\);\s*slot\.count_parked\(None\);\s*\}\s*\}\s*stays/}}stays/' domain an_object_stays_while_a_guard_holds_it_and_goes_after
mutate "synchronize_rcu does not wait" update.rs 's/while slot\.lo\.load\(Ordering::Acquire\) < era/while false/' loom synchronize_rcu_waits_for_sections_that_are_open
unread=what_is_unread_may_be_freed_at_once
mutate "no fence before it is called unread" update.rs 's/&& fences\.heavy\(\)//' loom $unread
mutate "unread without Acquire" update.rs 's/slot\.lo\.load\(Ordering::Acquire\) == IDLE/slot.lo.load(Ordering::Relaxed) == IDLE/' loom $unread
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
