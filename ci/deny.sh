#!/usr/bin/env bash
# Licences, duplicates and sources of the dependencies; installs cargo-deny, which takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
cargo deny check licenses bans sources
