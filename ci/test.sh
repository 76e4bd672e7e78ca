#!/usr/bin/env bash
# npm test: everything. The checks; the image; what builds must hold; the image booted in QEMU.
# The image is built once and kept in the cache: the second run is much shorter.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
bash ci/check.sh
# The development environment: the Debian base, which needs no server but a mirror, and zstd. The raw
# image is the same, byte for byte, as with xz.
echo '== image' && node builder/cli.ts build --env development
echo '== build tests' && vitest run --project build
echo '== boot tests' && vitest run --project boot
# The router among other hosts. The admin's address is spared and the ceilings are higher than a scan of
# all ports, so that it is the closed ports that keep silent.
echo '== lab tests'
node builder/cli.ts build --env bare --raw-only
node builder/cli.ts build --env router --raw-only --set name=pi-gateway-lab --set 'base=[debian]' \
  --set 'stages.ssh.never_ban=[172.20.0.10/32, "2001:db8:2::10/128"]' \
  --set stages.firewall.limits.syn_per_second=1300 --set stages.firewall.limits.syn_total_per_second=1500
vitest run --project lab
