#!/usr/bin/env bash
# What action.yml runs: sets the runner up and builds for the repository in GITHUB_WORKSPACE.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
if [ "${COMMAND:-build}" = plan ]; then
  bash "$project/ci/setup.sh" node
elif [ -n "${RELEASE_FOLDER:-}" ]; then
  bash "$project/ci/setup.sh" test
else
  bash "$project/ci/setup.sh" image
fi
PATH="$project/node_modules/.bin:$PATH" exec node "$project/ci/action.ts"
