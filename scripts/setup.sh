#!/usr/bin/env bash
# Installs what apt and npm have to give and builds what is built: native programs, pebble, samples, the bundle.
# Quick when there is nothing to do: each step has a stamp in .setup/ that names what it was done for.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .setup

say() { printf '\033[2msetup:\033[0m %s\n' "$1"; }
fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "this needs root: run as root or install sudo (tried: $*)"
  fi
}

# What Skerry drives, then what builds it. docs/adr/dependencies.md has a reason for each.
PACKAGES=(
  qemu-system-x86 qemu-utils ovmf xorriso containerd runc iproute2 nftables conntrack dnsmasq-base e2fsprogs mount procps lxc
  busybox-static build-essential python3 duktape-dev musl-dev
)
# What the sample machines are made with.
SAMPLE_PACKAGES=(grub-common grub-pc-bin grub-efi-amd64-bin mtools dosfstools cpio kmod zstd xz-utils)
# Peers and real clients for tests and benchmarks.
TEST_PACKAGES=(
  docker-registry skopeo docker.io curl iputils-ping swtpm swtpm-tools qemu-system-arm qemu-efi-aarch64 memtest86+ lz4 squashfs-tools podman crun mmdebstrap
  mosquitto mosquitto-clients python3-paho-mqtt
)

apt_step() {
  command -v apt-get >/dev/null || { say "no apt-get here: install by hand: $*"; return; }
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "apt: ${missing[*]}"
  # A package must not start a daemon of its own just because Skerry's set-up installs it.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" && made=1
  fi
  local status=0
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >.setup/apt.log 2>&1 || {
    as_root apt-get update -qq >.setup/apt.log 2>&1 || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >>.setup/apt.log 2>&1 || status=$?
  }
  [ -n "$made" ] && as_root rm -f "$policy"
  [ $status -eq 0 ] || { tail -n 15 .setup/apt.log >&2; fail "apt-get could not install: ${missing[*]}"; }
}

node_step() {
  command -v node >/dev/null && command -v npm >/dev/null || apt_step nodejs npm
  local major
  major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  [ "$major" -ge 20 ] || fail "Node.js 20 or newer is needed, found ${major}: install it (Debian 13 has it) and run again"
}

npm_step() {
  local want
  want=$(cat package-lock.json package.json packages/*/package.json apps/*/package.json | sha256sum | cut -d' ' -f1)-$(node -p process.version)
  [ -d node_modules ] && [ "$(cat .setup/npm 2>/dev/null)" = "$want" ] && return
  say "npm: installing the packages of package-lock.json"
  # Not `npm ci`: it refuses to work where a registry lacks an optional package of another platform. The lock file is
  # heeded all the same, never written here, and what was installed against its word fails the set-up.
  CFLAGS=-O1 npm install --no-save --no-fund --no-audit --loglevel=error >.setup/npm.log 2>&1 || { tail -n 20 .setup/npm.log >&2; fail 'npm install failed'; }
  node scripts/lock-fits.mjs || fail 'package-lock.json does not fit package.json: run npm install and commit it'
  printf '%s' "$want" >.setup/npm
}

apt_step "${PACKAGES[@]}" "${SAMPLE_PACKAGES[@]}"
[ "${1:-}" = --with-test-tools ] && apt_step "${TEST_PACKAGES[@]}"
node_step
npm_step
make -s -C packages/host/native
make -s -C packages/runtimes/native
make -s -C guests/pebble
make -s -C guests/hello
make -s -C guests/system-busybox
make -s -C guests/vm-linux
node scripts/build.mjs --if-changed
