#!/usr/bin/env bash
# npm run services: the device with every service on (environments/services.yaml) among other hosts: backups,
# certificates, containers and the rest. Long under emulation, so it is not part of npm test.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
node builder/cli.ts build --env services --raw-only --set 'base=[debian]' \
  --set 'stages.ssh.never_ban=[172.20.0.10/32, "2001:db8:2::10/128"]'
PI_GATEWAY_LAB=services vitest run --project services "$@"
