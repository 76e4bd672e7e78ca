#!/usr/bin/env bash
# npm run long: what an owner does seldom and what takes many boots: mistakes in the owner's file and their
# mending, settings that return by themselves, rotation of the host keys; and builds from empty caches with
# layers from a registry. About 25 minutes on two cores, so it is not part of npm test.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
node builder/cli.ts build --env development --raw-only
vitest run --project long "$@"
