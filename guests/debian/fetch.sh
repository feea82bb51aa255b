#!/usr/bin/env bash
# Unpacks Debian packages of an architecture into a folder: fetch.sh ARCH FOLDER PACKAGE... Nothing is installed, and what
# is downloaded stays in build/ for the next time. A foreign architecture has its own lists: the host's apt stays as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
arch=$1 folder=$(realpath -m "$2")
shift 2
cache=$here/build/$arch
mkdir -p "$cache" "$folder"

apt=(-qq -o APT::Sandbox::User=root)
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
  state=$cache/apt
  mkdir -p "$state"/{lists/partial,cache/archives/partial}
  touch "$state/status"
  # The mirrors that the host has for Debian itself.
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' | sort -u |
    while read -r uri release component; do
      echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $release $component"
    done >"$state/sources.list"
  [ -s "$state/sources.list" ] || { echo "fetch.sh: apt knows no mirror of Debian here: apt-get update" >&2; exit 1; }
  apt+=(-o "APT::Architecture=$arch" -o "APT::Architectures::=$arch" -o "Dir::State=$state" -o "Dir::State::status=$state/status"
    -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false)
fi

download() { (cd "$cache" && apt-get "${apt[@]}" download "$1"); }

for package in "$@"; do
  # A package that only points at the newest kernel stands for that kernel.
  name=$package
  deb=$(find "$cache" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
  if [ -z "$deb" ]; then
    apt-cache "${apt[@]}" show "$package" >/dev/null 2>&1 || apt-get "${apt[@]}" update
    case $package in linux-image-cloud-* | linux-image-amd64 | linux-image-arm64)
      name=$(apt-cache "${apt[@]}" depends "$package" | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
      deb=$(find "$cache" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1) ;;
    esac
    if [ -z "$deb" ]; then
      download "$name" 2>/dev/null || { apt-get "${apt[@]}" update && download "$name"; }
      deb=$(find "$cache" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
    fi
  fi
  dpkg-deb -x "$deb" "$folder"
done
