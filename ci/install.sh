#!/usr/bin/env bash
# Installs what the checks need and a fresh machine may lack: a C linker for cargo.
set -euo pipefail
command -v cargo >/dev/null || { echo "install Rust first (rustup.rs): cargo not found" >&2; exit 1; }
if ! command -v cc >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq gcc libc6-dev
fi
