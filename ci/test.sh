#!/usr/bin/env bash
# npm test: everything. The checks; the image; what builds must hold; the image booted in QEMU.
# The image is built once and kept in the cache: the second run is much shorter.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
bash ci/check.sh
# The Debian base needs no server but a Debian mirror, so the tests always know what they test.
echo '== image' && node builder/cli.ts build --set 'base=[debian]'
echo '== build tests' && vitest run --project build
echo '== boot tests' && vitest run --project boot
