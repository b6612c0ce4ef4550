# Shared by the scripts, which begin with `. "$(dirname "$0")/../lib.sh"`. Goes to the root of the repository.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Prints the address of Debian's archive, found in this machine's own apt sources.
debian_mirror() {
    { cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true; } |
        grep -oE '[a-z]+://[^ ]*/debian/? *$' | head -n1
}

# Installs the packages of the distribution that are missing.
need_packages() {
    dpkg -s "$@" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >&2
}

# Ends the script, as skipped, if there is no nightly toolchain.
need_nightly() {
    cargo +nightly --version >/dev/null 2>&1 || { echo "skipped: no nightly toolchain"; exit 0; }
}
