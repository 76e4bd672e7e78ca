#!/usr/bin/env bash
# npm run image: sets the machine up and builds. Arguments go to `pi-gateway-image build`, but for
# --no-install, which only reports what the machine lacks.
set -euo pipefail
cd "$(dirname "$0")/.."
arguments=()
flag=()
for argument in "$@"; do
  if [ "$argument" = --no-install ]; then flag=(--no-install); else arguments+=("$argument"); fi
done
bash ci/setup.sh image "${flag[@]}"
PATH="$PWD/node_modules/.bin:$PATH" exec node builder/main.ts build "${arguments[@]}"
