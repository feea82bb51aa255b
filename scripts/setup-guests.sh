#!/usr/bin/env bash
# Builds the samples that only tests and guides need, from Debian's packages, each in its own build/ folder; quick when nothing
# has changed. What every set-up has is in setup.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
for guest in vm-screen vm-arm64; do
  [ -e "guests/$guest/build/disk.qcow2" ] || printf '\033[2msetup:\033[0m building guests/%s\n' "$guest"
  make -s -C "guests/$guest"
done
