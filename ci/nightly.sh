#!/usr/bin/env bash
# npm run nightly: sets the machine up and makes a release, if anything that it is made from has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH" exec node ci/nightly.ts "$@"
