#!/usr/bin/env bash
# Breaks one rule at a time and expects a named test to fail: a proof that cannot fail proves nothing. Each rule is a patch in
# ci/mutations/CRATE, with a head of two lines:
#   breaks: WHAT
#   test: PACKAGE BINARY TEST     BINARY is a test binary, or `unit` (the crate's own tests); `loom` and `lib-loom` are models
# Works on a copy of what git knows.
#
# Usage: mutate.sh [REGEX]     the patches whose path matches; all of them take more than an hour
#        mutate.sh --check     only whether each patch applies, and whether its test exists
. "$(dirname "$0")/../lib.sh"
patches=(ci/mutations/*/*.patch)

# Reads the head of a patch into `breaks`, `package`, `binary` and `test`.
head_of() {
    { IFS= read -r breaks && read -r _ package binary test; } <"$1"
    breaks=${breaks#breaks: }
}

if [ "${1:-}" = --check ]; then
    failed=0
    names=$(git grep -hoE '\bfn [a-z0-9_]+' -- 'crates/*.rs')
    for patch in "${patches[@]}"; do
        head_of "$patch"
        error=$(git apply --check "$patch" 2>&1) || { failed=$((failed + 1)); echo "$patch: does not apply: $error"; }
        [[ $'\n'$names$'\n' == *$'\n'"fn ${test##*::}"$'\n'* ]] || { failed=$((failed + 1)); echo "$patch: there is no test $test"; }
    done
    echo "${#patches[@]} patches, $failed failed"
    exit $((failed > 0))
fi

root=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$copy"
cd "$copy"
git init -q
export CARGO_TARGET_DIR=$root/target/mutate LOOM_MAX_PREEMPTIONS=3
# Most of the time goes into building, so only what a patch changes is built, and fast.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_DEV_DEBUG=false

# Says in one line what a patch comes to; succeeds if its test notices it.
mutate() {
    git apply "$1" 2>log || { echo "FAILED  $1: does not apply"; return 1; }
    # The BPF program is C; the object that the crate embeds is built from it.
    ! grep -q '^+++ b/crates/scan/bpf/' "$1" || crates/scan/build-bpf.sh >/dev/null
    local flags="" profile=--release tests=(--test "$binary") code=0
    case $binary in
    loom) flags="--cfg loom" tests+=(--features loom) ;;
    lib-loom) flags="--cfg loom" tests=(--lib --features loom) ;;
    unit) profile="" tests=(--lib) ;; # in debug, with what checks itself, such as poisoned tables
    esac
    # Tests of experiments are no faster in release.
    case $package in vmaple | vmaple-repro) profile="" ;; esac
    [ "$package" != vmaple ] || [ "$binary" != unit ] || tests=(--bin vmaple)
    local cargo=(cargo test -q $profile -p "$package" "${tests[@]}")
    export RUSTFLAGS=$flags
    "${cargo[@]}" --no-run >log 2>&1 || { echo "FAILED  $1: does not compile"; return 1; }
    timeout 300 "${cargo[@]}" -- --exact "$test" >log 2>&1 || code=$?
    if [ $code -eq 0 ] && grep -q '^test result: ok. 1 passed' log; then
        echo "FAILED  $1: $test does not notice"
    elif [ $code -eq 0 ]; then
        echo "FAILED  $1: there is no test $test"
    elif ! grep -qE '^test result: FAILED|\(signal: ' log; then
        echo "FAILED  $1: $test does not end"
    else
        echo "noticed $1: $breaks"
        return 0
    fi
    return 1
}

passed=0 failed=0
for patch in "${patches[@]}"; do
    [[ $patch =~ ${1:-} ]] || continue
    head_of "$patch"
    mkdir -p saved
    files=$(sed -n 's|^+++ b/||p' "$patch")
    # shellcheck disable=SC2086
    cp --parents -t saved $files crates/scan/bpf/*.bpf.o
    if mutate "$patch"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    cp -r saved/. .
    rm -r saved
    # A rule may be that nothing is left behind.
    pkill -KILL -f "^$CARGO_TARGET_DIR/(debug|release)/vmaple " || true
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
