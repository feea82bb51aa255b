#!/usr/bin/env bash
# The edge of the network, shown in a lab on this machine: real agents, real guests and real packets over links with real delay. A
# service far from its clients and near them, a phone that moves, a link that is cut, and nothing left behind.
set -euo pipefail
cd "$(dirname "$0")/.."
bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }
skerry=$PWD/bin/skerry
SKERRY_LABS=$(mktemp -d /tmp/skerry-demo-labs.XXXXXX)
export SKERRY_LABS
unset SKERRY_SERVER
run() { show "skerry $*"; "$skerry" "$@"; }
finish() {
  local status=$?
  trap - EXIT INT TERM
  "$skerry" lab down || status=1
  rm -rf "$SKERRY_LABS"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

bold 'An edge on this machine: a router, two towers, a small cell, three small sites, and a data centre 25 ms away'
run lab up examples/labs/harbour.yaml
SKERRY_DATA=$SKERRY_LABS/harbour/machines/controller/data
export SKERRY_DATA
"$skerry" workload delete hello >/dev/null
service=http://hello.default.edge:8080/cgi-bin/whoami
from() { show "from $1: curl $service"; "$skerry" lab exec "$1" -- node "$PWD/scripts/answers.mjs" "$service" 5; }

bold 'One instance in the data centre: this is how a phone sees it'
show 'skerry apply -f - (placement: { nodeSelector: { site: data-centre } })'
sed -e 's/replicas: 3/replicas: 1/' -e 's/placement: .*/placement: { nodeSelector: { site: data-centre } }/' examples/labs/nearest.yaml |
  "$skerry" apply -f - --wait
from phone-1

bold 'Near the phones: the plan tells for every node why, then one at each of three sites'
run workload delete hello
run plan -f examples/labs/nearest.yaml
run apply -f examples/labs/nearest.yaml --wait
run lab status
from phone-1
from phone-2

bold 'Modelled and measured, one way'
run link measured

bold 'A handover while the phone asks without a pause: it keeps its address, and the nearest instance is another one'
log=$(mktemp)
"$skerry" lab exec phone-1 -- node "$PWD/scripts/answers.mjs" --handover "$service" 20000 >"$log" &
asking=$!
until grep -q asking "$log" || ! kill -0 $asking 2>/dev/null; do read -rt 0.1 <> <(:) || true; done
run lab move phone-1 tower-2
wait $asking || { cat "$log"; exit 1; }
tail -n 1 "$log"
rm -f "$log"

bold 'The link to the data centre, where the controller is, is cut: nobody notices but the event list'
run lab cut backbone
from phone-1
run workload instances hello
show 'skerry event watch'
until "$skerry" event list | grep -q Farther; do read -rt 0.2 <> <(:) || true; done
"$skerry" event list | grep Farther | head -n 2
run lab heal backbone
