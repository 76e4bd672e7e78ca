#!/usr/bin/env bash
# Starts the image that was built last in QEMU and runs its boot tests; PI_GATEWAY_IMAGE names another.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH" exec vitest run --project boot "$@"
