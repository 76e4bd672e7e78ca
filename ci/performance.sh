#!/usr/bin/env bash
# Runs the benchmark, which adds to docs/benchmarks, and compares it with the runs before it.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
if ! node -e 'process.exit("bench" in require("./package.json").scripts ? 0 : 1)'; then
  echo 'NOT DONE: package.json has no benchmark (npm run bench)' >&2
  exit 3
fi
npm run bench
node ci/performance.ts docs/benchmarks
