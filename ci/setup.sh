#!/usr/bin/env bash
# Makes a Debian machine with Node (any version) and npm ready: npm packages, among them the Node that
# runs the project, and Debian packages. Does nothing where all is there.
#
# Usage: ci/setup.sh node|image|test [--no-install]
#   node   npm packages only    image  and what a build needs    test  and what the tests need
#   --no-install (or NO_INSTALL=1)  only say what is missing; exit code 3 if anything is
set -euo pipefail
cd "$(dirname "$0")/.."

policy=/usr/sbin/policy-rc.d
what=${1:?usage: ci/setup.sh node|image|test [--no-install]}
install=yes
if [ "${2:-}" = --no-install ] || [ -n "${NO_INSTALL:-}" ]; then install=no; fi

fail() {
  printf 'Error: %s\n  → %s\n' "$1" "$2" >&2
  exit 3
}

npm_packages() {
  # npm writes this file last; older than the lock file, it is of other packages.
  local mark=node_modules/.package-lock.json
  if [ -e "$mark" ] && [ ! package-lock.json -nt "$mark" ]; then return; fi
  if [ $install = no ]; then fail 'npm packages are missing' 'Run: npm ci'; fi
  echo 'Setting up: npm packages (npm ci)' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch "$mark"
}

# Lines of ci/debian-packages.txt for the sections given.
listed() {
  awk -v wanted=" $* " '
    /^\[/ { gsub(/[][]/, ""); section = $0; next }
    /^#/ || !NF { next }
    index(wanted, " " section " ")' ci/debian-packages.txt
}

debian_packages() {
  local missing=() servers=() command package reason
  while IFS='|' read -r command package reason; do
    command=${command// /} package=${package// /}
    if ! PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH" command -v "$command" > /dev/null; then
      missing+=("$package")
      if listed servers | grep "| *$package *|" > /dev/null; then servers+=("$package"); fi
      printf 'Missing: %s (%s)\n' "$package" "${reason# }" >&2
    fi
  done < <(listed "$@")
  if [ ${#missing[@]} -eq 0 ]; then return; fi
  if [ $install = no ]; then
    fail 'Debian packages are missing' "Run: sudo apt-get install ${missing[*]}"
  fi
  if ! command -v apt-get > /dev/null; then
    fail 'This host has no apt-get' "Install with its own package manager: ${missing[*]}"
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
      fail 'Installing Debian packages needs root, and there is no sudo' \
        "As root: apt-get install ${missing[*]}"
    fi
    as_root=(sudo)
  fi
  echo "Setting up: Debian packages ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq >&2
  # No server of the tests' is to run on this machine: not now (invoke-rc.d(8): 101 is "not allowed"), and not
  # from its next start on.
  if [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 0755 /dev/stdin $policy
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  local services=()
  for package in "${servers[@]}"; do
    mapfile -t -O ${#services[@]} services < <(dpkg -L "$package" |
      sed -n 's,^\(/usr\)\?/lib/systemd/system/\([^/@]*\.service\)$,\2,p')
  done
  if [ ${#services[@]} -gt 0 ] && command -v systemctl > /dev/null; then
    "${as_root[@]}" systemctl --quiet disable "${services[@]}" > /dev/null 2>&1 || true
  fi
}

npm_packages
case $what in
  node) ;;
  image) debian_packages image ;;
  test) debian_packages image test servers ;;
  *) fail "'$what' is nothing to set up" 'One of: node image test' ;;
esac
