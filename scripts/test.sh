#!/usr/bin/env bash
# Types, lint, then every test. Real engines need root. Ends with `N passed, N failed, N skipped` and names each skip.
set -uo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo 'make test needs root for namespaces and engines: run as root or install sudo' >&2; exit 1; }
  exec sudo -E env "PATH=$PATH" "$0" "$@"
fi
npx --no-install tsc --noEmit || exit 1
npx --no-install biome check . || exit 1
report=.setup/test-report.json
rm -f "$report"
npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$report" "$@"
status=$?
node scripts/count-tests.mjs "$report" || status=1
exit $status
