#!/usr/bin/env bash
# Builds the sample guests from Debian's packages, each in its own build/ folder; quick when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
for guest in vm-linux; do make -s -C "guests/$guest"; done
