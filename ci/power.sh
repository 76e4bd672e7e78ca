#!/usr/bin/env bash
# npm run power: the power is cut 30 times or more during first boot, at the start of every step and at
# random instants; each card has to end in the same good state. About half an hour on two cores, so it is
# not part of npm test. PI_GATEWAY_SEED repeats the instants of another run, PI_GATEWAY_IMAGE names the
# image.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
[ -n "${PI_GATEWAY_IMAGE:-}" ] || node builder/cli.ts build --env development --raw-only
vitest run --project power "$@"
