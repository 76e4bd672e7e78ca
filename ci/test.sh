#!/usr/bin/env bash
# npm test: everything. The checks; the image; what builds must hold; the image booted in QEMU.
# The image is built once and kept in the cache: the second run is much shorter.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
bash ci/check.sh
echo '== dashboard in a browser' && vitest run --project browser
# The development environment: the Debian base, which needs no server but a mirror, and zstd. The raw
# image is the same, byte for byte, as with xz.
echo '== image' && node builder/cli.ts build --env development
echo '== build tests' && vitest run --project build
echo '== boot tests' && vitest run --project boot
