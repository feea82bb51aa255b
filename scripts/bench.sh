#!/usr/bin/env bash
# Measures the promises of SPECIFICATION.md, peers beside them. `scripts/bench.sh container api` measures only these;
# BENCH_RUNS=3 is a quick look. What a whole run found is kept in bench/results/. `scripts/bench.sh fuzz` throws hostile packets
# at pebble for an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo 'make bench needs root for namespaces and engines: run as root or install sudo' >&2; exit 1; }
  exec sudo -E env "PATH=$PATH" "$0" "$@"
fi
if [ "${1:-}" = fuzz ]; then exec make fuzz; fi
node scripts/build.mjs --if-changed
npx --no-install esbuild bench/main.ts bench/reads.ts bench/mqtt-load.ts bench/broker-process.ts --bundle --platform=node --format=esm --target=node20 --conditions=@skerry/source \
  --external:better-sqlite3 --external:highs --log-level=warning --outdir=dist/bench --out-extension:.js=.mjs \
  --banner:js="import { createRequire as benchRequire } from 'node:module'; const require = benchRequire(import.meta.url);"
exec node dist/bench/main.mjs "$@"
