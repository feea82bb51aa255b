#!/usr/bin/env bash
# install.sh [--remove] DESTDIR PREFIX DATA: puts skerry, its systemd unit and its data folder in place, or takes the
# program and the unit away again. The data folder is never removed here: `skerry down --purge` does that.
set -euo pipefail
cd "$(dirname "$0")/.."
remove=
[ "${1:-}" = --remove ] && { remove=1; shift; }
dest=$1 prefix=$2 data=$3
lib=$dest$prefix/lib/skerry
unit=$dest/etc/systemd/system/skerry.service

if [ "$(id -u)" != 0 ] && [ -z "$dest" ]; then
  command -v sudo >/dev/null || { echo 'make install needs root: run as root or install sudo' >&2; exit 1; }
  exec sudo env "PATH=$PATH" "$0" ${remove:+--remove} "$dest" "$prefix" "$data"
fi

if [ -n "$remove" ]; then
  rm -rf "$lib" "$dest$prefix/bin/skerry" "$unit"
  echo "removed $prefix/lib/skerry, $prefix/bin/skerry and the unit; $data is left as it is"
  exit 0
fi

# Into a new folder first: a program that runs keeps its files until it is started again.
rm -rf "$lib.new"
mkdir -p "$lib.new/bin" "$lib.new/packages/host/native" "$lib.new/packages/runtimes/native" "$lib.new/guests/pebble" "$lib.new/node_modules" "$dest$prefix/bin"
cp -r dist "$lib.new/dist"
cp bin/skerry "$lib.new/bin/skerry"
for room in host runtimes; do cp -r "packages/$room/native/build" "$lib.new/packages/$room/native/build"; done
mkdir -p "$lib.new/guests/pebble/build"
cp guests/pebble/build/pebble.elf "$lib.new/guests/pebble/build/pebble.elf"
# What the bundle leaves outside: native code, and the compiler for functions.
for package in better-sqlite3 bindings file-uri-to-path typescript-es5; do
  cp -rL "node_modules/$package" "$lib.new/node_modules/$package"
done
rm -rf "$lib.new"/node_modules/better-sqlite3/{deps,src,build/Release/obj,build/Release/obj.target}
rm -rf "$lib"
mv "$lib.new" "$lib"
ln -sfn "$prefix/lib/skerry/bin/skerry" "$dest$prefix/bin/skerry"

mkdir -p "$(dirname "$unit")"
cat >"$unit" <<UNIT
[Unit]
Description=Skerry, a small data centre for the edge
After=network.target

[Service]
ExecStart=$prefix/bin/skerry up --data $data
# Guests are not the program's children and outlive it: only the program itself is ended.
KillMode=process
Restart=always
RestartSec=1
LimitNOFILE=1048576
TasksMax=infinity
Delegate=yes
UMask=0077

[Install]
WantedBy=multi-user.target
UNIT
mkdir -p "$dest$data"
chmod 700 "$dest$data"
[ -z "$dest" ] && [ -d /run/systemd/system ] && systemctl daemon-reload
echo "installed: $prefix/bin/skerry, skerry.service, $data"
[ "$data" = /var/lib/skerry ] || echo "its data folder is not the usual one: export SKERRY_DATA=$data"
echo "start it with: systemctl enable --now skerry    (or: skerry up --detach)"
