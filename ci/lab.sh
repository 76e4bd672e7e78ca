#!/usr/bin/env bash
# npm run lab: the device as a router among other hosts, probed from outside. Over an hour on two cores, so
# it is not part of npm test.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
# The admin's address is spared and the ceilings are higher than a scan of all ports, so that it is the
# closed ports that keep silent.
node builder/cli.ts build --env router --raw-only --set name=pi-gateway-lab --set 'base=[debian]' \
  --set 'stages.ssh.never_ban=[172.20.0.10/32, "2001:db8:2::10/128"]' \
  --set stages.firewall.limits.wan_per_second=1300 --set stages.firewall.limits.wan_total_per_second=1500
[ "${PROJECT:-lab}" != lab ] || node builder/cli.ts build --env minimal --raw-only
vitest run --project "${PROJECT:-lab}" "$@"
