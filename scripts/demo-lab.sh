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

bold 'Data of devices: thermometers at two towers, a unikernel at each that lets through what matters, a data centre that gets it'
run workload delete hello
run apply -f examples/labs/readings.yaml --wait
field() { node -e 'let t="";process.stdin.on("data",(d)=>{t+=d}).on("end",()=>{const v=process.argv[1].split(".").reduce((o,k)=>o[k],JSON.parse(t));console.log(v)})' "$1"; }
address() { "$skerry" node show "$1" --output json | field status.underlay; }
for device in uplink thermo-1 thermo-2; do (umask 077; "$skerry" device rotate $device --output json >"$SKERRY_LABS/$device.json"); done
show 'skerry apply -f examples/labs/readings-stream.yaml (with the address of the data centre)'
URL=mqtts://$(address distant-node):8883 CREDENTIALS=$SKERRY_LABS/uplink.json node --input-type=module -e '
  import { readFileSync } from "node:fs"; import { parse } from "yaml";
  const stream = parse(readFileSync("examples/labs/readings-stream.yaml", "utf8"));
  const { password, authority } = JSON.parse(readFileSync(process.env.CREDENTIALS, "utf8"));
  Object.assign(stream.spec.to[0].mqtt, { url: process.env.URL, password, ca: authority });
  console.log(JSON.stringify(stream));' | "$skerry" apply -f -
replay() { # device, node, phone, readings, per second
  "$skerry" lab exec "$3" -- node "$PWD/scripts/replay-readings.mjs" \
    "mqtts://$(address "$2"):8883" "$SKERRY_LABS/$1.json" "devices/$1/temperature" "$4" "$5"
}
arrived=$SKERRY_LABS/harbour/machines/distant-node/data/devices/files/default/arrived/arrived.jsonl
settled() { # until nothing waits at any node, and what arrived is counted
  until "$skerry" stream show judged --output json | node -e 'let t="";process.stdin.on("data",(d)=>{t+=d}).on("end",()=>{const n=JSON.parse(t).status.nodes;process.exit(n.reduce((s,o)=>s+o.received,0)>='"$1"'&&n.every((o)=>o.waiting===0)?0:1)})'; do read -rt 0.3 <> <(:) || true; done
}

bold 'A reading is safe (on the disk, acknowledged) after so many milliseconds: at the tower, and in the data centre'
show 'replay-readings.mjs mqtts://<node>:8883'
replay thermo-1 tower-1-node phone-1 100 50 | tee "$SKERRY_LABS/near"
replay thermo-1 distant-node phone-1 20 10 | tee "$SKERRY_LABS/far"

bold '2,000 measured hours of San Francisco come in at both towers, and the ways to the data centre are cut meanwhile'
run lab cut backbone
run lab cut detour
replay thermo-1 tower-1-node phone-1 1000 250 >"$SKERRY_LABS/one" & first=$!
replay thermo-2 tower-2-node phone-2 1000 250 >"$SKERRY_LABS/two" & second=$!
wait $first $second
cat "$SKERRY_LABS/one" "$SKERRY_LABS/two"
run lab heal backbone
run lab heal detour
settled 2120
run stream list
# What the towers say they sent must be there, each once: else this fails.
"$skerry" stream show judged --output json | node --input-type=module -e '
  import { readFileSync } from "node:fs";
  const { nodes } = JSON.parse(readFileSync(0, "utf8")).status;
  const lines = readFileSync(process.argv[1], "utf8").trim().split("\n").map((line) => JSON.parse(line));
  const bytes = lines.reduce((sum, { value }) => sum + JSON.stringify(value).length, 0);
  const made = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
  const all = (what) => made.reduce((sum, one) => sum + one[what], 0);
  const sent = nodes.reduce((sum, one) => sum + one.sent, 0);
  console.log(`${all("readings")} readings, ${all("bytes")} bytes made; ${sent} mattered, ${lines.length} arrived, each once: ${bytes} bytes sent, ${(100 * bytes / all("bytes")).toFixed(0)} %`);
  process.exit(lines.length === sent && nodes.every(({ dropped, refused }) => dropped + refused === 0) ? 0 : 1);
' "$arrived" "$SKERRY_LABS/near" "$SKERRY_LABS/far" "$SKERRY_LABS/one" "$SKERRY_LABS/two"
