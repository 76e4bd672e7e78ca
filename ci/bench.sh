#!/usr/bin/env bash
# npm run bench: measures builds beside the same from standard parts. A whole run (an hour or more) adds its
# record to docs/benchmarks; `npm run bench -- --only no-change compress --runs 1` only prints.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH" exec node builder/bench/main.ts "$@"
