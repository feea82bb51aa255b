#!/usr/bin/env bash
# The main job, shown on real parts: a container, a system container, a unikernel and a virtual machine, an answer from each, real temperature
# readings through the unikernel's function, a kill -9 survived, and nothing left behind.
# On a terminal it stays until Ctrl-C; without one it ends by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo 'make demo needs root for namespaces and engines: run as root or install sudo' >&2; exit 1; }
  exec sudo env "PATH=$PATH" "$0" "$@"
fi

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }
SKERRY_DATA=$(mktemp -d /tmp/skerry-demo.XXXXXX)
export SKERRY_DATA
unset SKERRY_SERVER
skerry=$PWD/bin/skerry
run() { show "skerry $*"; "$skerry" "$@"; }

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -d "$SKERRY_DATA" ]; then
    bold 'Clean removal'
    id=$(basename "$SKERRY_DATA")
    if ! "$skerry" down --purge --yes; then
      echo "$SKERRY_DATA is kept: try again with: SKERRY_DATA=$SKERRY_DATA bin/skerry down --purge"
      exit 1
    fi
    if left=$(pgrep -af "$SKERRY_DATA"); then echo "left behind: $left"; status=1; fi
    if left=$(grep -F "$SKERRY_DATA" /proc/mounts); then echo "left behind: $left"; status=1; fi
    rm -rf "$SKERRY_DATA"
    [ $status -eq 0 ] && echo "Nothing is left: no process, mount or file of $id."
  fi
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

bold 'One program: controller, agent and store'
run up --detach

bold 'An image from an archive, and a function as an image: its guest is a kernel of its own'
run image import guests/hello/build/hello.tar
run image build thermo --from guests/pebble/functions/thermo.ts
run image import guests/system-busybox/build/rootfs.tar --name lighthouse:1
run image import guests/vm-linux/build/disk.qcow2 --name harbour:1

bold 'One manifest, four kinds of guest: the virtual machine boots while the others answer'
run apply -f examples/four-kinds.yaml
run apply -f examples/spine.yaml --wait
run workload instances
address() { "$skerry" workload instances "$1" --output json | node -p 'JSON.parse(require("fs").readFileSync(0)).find(i => i.status.phase === "running").spec.network.address'; }
pids() { "$skerry" workload instances --output json | node -p 'JSON.parse(require("fs").readFileSync(0)).map(i => i.metadata.name + " is process " + i.status.pid).sort().join("\n")'; }
get() { node scripts/http.mjs "$@"; }

bold 'Each answers'
hello=$(address hello) thermo=$(address thermo) lighthouse=$(address lighthouse)
show "curl http://$hello:8080/cgi-bin/whoami"
get "http://$hello:8080/cgi-bin/whoami"
show "curl http://$lighthouse:8080/cgi-bin/whoami"
get "http://$lighthouse:8080/cgi-bin/whoami"
show "curl http://$thermo:8080/healthz"
get "http://$thermo:8080/healthz"

bold 'A year of measured temperatures (San Francisco, hourly; vega-datasets, sf-temps.csv) through the function'
get --readings node_modules/vega-datasets/data/sf-temps.csv "http://$thermo:8080/readings"
show "curl http://$thermo:8080/"
get "http://$thermo:8080/"

bold 'The virtual machine has booted a kernel of its own, and answers'
run apply -f examples/four-kinds.yaml --wait
harbour=$(address harbour)
show "curl http://$harbour:8080/"
get "http://$harbour:8080/"
run workload instances

bold 'How soon, beside the same by hand with each engine (a second instance of the program, gone afterwards)'
show 'scripts/bench.sh beside'
scripts/bench.sh beside | grep -v '^[0-9]* benchmarks in'

bold 'kill -9 of the program: the guests go on, and are found again'
before=$(pids)
echo "$before"
pid=$(node -p 'JSON.parse(require("fs").readFileSync(process.env.SKERRY_DATA + "/skerry.pid")).process.pid')
show "kill -9 $pid"
kill -9 "$pid"
printf 'while it is down, hello answers: '
get "http://$hello:8080/healthz"
run up --detach
run apply -f examples/four-kinds.yaml --wait
after=$(pids)
if [ "$before" = "$after" ]; then echo 'The same processes as before.'; else printf 'DIFFERENT processes:\n%s\n' "$after"; exit 1; fi
printf 'and the function still knows what it was told: '
get "http://$thermo:8080/" | head -c 200
echo

bold 'Many nodes: the edge of the network, in a lab'
show 'scripts/demo-lab.sh'
env -u SKERRY_DATA scripts/demo-lab.sh

if [ -t 0 ] && [ -t 1 ] && [ -z "${CI:-}" ]; then
  bold 'It is yours until Ctrl-C. In another terminal try:'
  cat <<TRY
  export SKERRY_DATA=$SKERRY_DATA
  bin/skerry status
  bin/skerry workload logs thermo --follow
  bin/skerry workload exec hello -t -- /bin/sh
  bin/skerry workload console harbour
  bin/skerry workload snapshot harbour now && bin/skerry workload restore harbour now
  bin/skerry event watch
  bin/skerry doctor
TRY
  trap : INT # Ctrl-C goes on to the clean end
  sleep infinity &
  sleeper=$!
  wait $sleeper || true
  kill $sleeper 2>/dev/null || true
  trap 'exit 130' INT
fi

bold 'Deleting what the manifest named'
run delete -f examples/four-kinds.yaml
run workload instances
