#!/usr/bin/env bash
# Packs rootfs/ and busybox into an OCI image archive (github.com/opencontainers/image-spec), the same bytes each time.
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,var/www}
cp -r rootfs/. "$root"
install -m 755 /bin/busybox "$root/bin/busybox"
for applet in sh httpd cat echo ls sleep date env wget nc ps kill id dd head tail mount hostname ip ping test true false yes free df touch rm; do
  ln -sf busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
chmod 1777 "$root/tmp"
chmod -R go+rX "$root"

pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1" -cf "$2" .; }
layout=$work/layout
mkdir -p "$layout/blobs/sha256"
# Puts a file into the layout under its digest and prints "digest size".
blob() {
  local hex
  hex=$(sha256sum "$1" | cut -d' ' -f1)
  cp "$1" "$layout/blobs/sha256/$hex"
  echo "sha256:$hex $(stat -c %s "$1")"
}

pack "$root" "$work/layer.tar"
read -r layer layer_size <<<"$(blob "$work/layer.tar")"
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
cat >"$work/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["PATH=/bin"],"Cmd":["/bin/httpd","-f","-p","8080","-h","/var/www"],"ExposedPorts":{"8080/tcp":{}},"StopSignal":"SIGTERM"},"rootfs":{"type":"layers","diff_ids":["$layer"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"hello"}]}
JSON
read -r config config_size <<<"$(blob "$work/config.json")"
cat >"$work/manifest.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"$config","size":$config_size},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"$layer","size":$layer_size}]}
JSON
read -r manifest manifest_size <<<"$(blob "$work/manifest.json")"
cat >"$layout/index.json" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"$manifest","size":$manifest_size,"annotations":{"org.opencontainers.image.ref.name":"hello:1"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
mkdir -p "$(dirname "$out")"
pack "$layout" "$out.new"
mv "$out.new" "$out"
