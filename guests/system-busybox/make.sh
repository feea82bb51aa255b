#!/usr/bin/env bash
# Puts the root file system together: make.sh ARCHIVE. The same input gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")"
archive=$1
mkdir -p "$(dirname "$archive")"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,sbin,dev,etc,proc,root,run,sys,tmp,usr/bin,usr/sbin,var/www/cgi-bin}
chmod 1777 "$root/tmp"
cp -r rootfs/. "$root"
chmod 755 "$root/var/www/cgi-bin/"*
cp /bin/busybox "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
for path in $(/bin/busybox --list-full); do
  mkdir -p "$root/$(dirname "$path")"
  [ -e "$root/$path" ] || ln -s /bin/busybox "$root/$path"
done
tar --create --file "$archive.new" --directory "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 .
mv "$archive.new" "$archive"
