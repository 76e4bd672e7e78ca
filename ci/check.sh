#!/usr/bin/env bash
# npm run check: types, lint and format, shell, unit tests. Under a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
bash ci/setup.sh test
PATH="$PWD/node_modules/.bin:$PATH"
echo '== types' && tsc -p . && tsc -p gateway/web
echo '== lint and format' && biome check .
echo '== shell'
# Every shell line that ships: scripts of ours, and of the overlays those that say they are shell.
{
  git ls-files -- '*.sh' .ci/run
  git ls-files -- overlays | while read -r file; do
    if head -n 1 "$file" | grep -qE '^#!/bin/(ba)?sh' && [[ $file != *.hbs && $file != *.ejs ]]; then
      echo "$file"
    fi
  done
} | xargs shellcheck
echo '== YAML and Markdown'
git ls-files -- '*.yaml' '*.yml' | xargs yamllint --strict
markdownlint-cli2
echo '== unit tests' && vitest run --project unit "$@"
