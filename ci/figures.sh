#!/usr/bin/env bash
# npm run figures: what hardening costs and what scanners say, in output/lab/figures.json. On an idle
# machine: boot time and memory beside the bare base, throughput beside an empty ruleset, lynis.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
node builder/cli.ts build --env development --raw-only
node builder/cli.ts build --env bare --raw-only
# With no other VM beside it.
if [ $# -eq 0 ]; then vitest run --project boot-time; fi
PROJECT=figures bash ci/lab.sh "$@"
