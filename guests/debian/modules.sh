#!/usr/bin/env bash
# Copies kernel modules with all that they need: modules.sh KERNEL-FOLDER TO NAME... TO/order names them in the order of
# loading, so that a guest needs no modprobe and no index.
set -euo pipefail
from=$1 to=$2
shift 2
mkdir -p "$to"
declare -A path=() done=()
while read -r file; do
  name=${file##*/}
  name=${name%.ko}
  path[${name//-/_}]=$file
done < <(find "$from" -name '*.ko')

add() {
  local name=${1//-/_} need
  [ -n "${path[$name]:-}" ] && [ -z "${done[$name]:-}" ] || return 0 # built into the kernel, or here already
  done[$name]=1
  for need in $(tr '\0' '\n' <"${path[$name]}" | sed -n 's/^depends=//p' | tr ',' ' '); do add "$need"; done
  cp "${path[$name]}" "$to/"
  echo "${path[$name]##*/}" >>"$to/order"
}
: >"$to/order"
for name in "$@"; do add "$name"; done
