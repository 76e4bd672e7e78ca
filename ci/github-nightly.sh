#!/usr/bin/env bash
# A night on a runner that keeps nothing: what the last releases were comes from GitHub, a new one goes
# there. Without GH_TOKEN releases stay in RELEASES (default: output/releases).
#
# VULN_DB is Debian's security data, a file or URL, which trust.vulnerabilities of gateway.yaml is held against.
# SIGNING_KEY and SIGNING_PUBLIC_KEY hold the keys' texts; without them the release is not signed, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."
releases=${RELEASES:-output/releases}
url="${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY/releases/download"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
signed=()
if [ -n "${SIGNING_KEY:-}" ]; then
  (umask 077 && printf '%s\n' "$SIGNING_KEY" > "$keys/secret")
  printf '%s\n' "$SIGNING_PUBLIC_KEY" > "$keys/public"
  signed=(--key "$keys/secret" --public-key "$keys/public")
fi
unset SIGNING_KEY
if [ -n "${GH_TOKEN:-}" ]; then bash ci/github-releases.sh pull "$releases"; fi
bash ci/nightly.sh --folder "$releases" --url "$url" --keep "${KEEP:-7}" --boot-test "${BOOT_TEST:-all}" \
  ${NIGHTLY_ENV:+--env "$NIGHTLY_ENV"} ${VULN_DB:+--vuln-db "$VULN_DB"} "${signed[@]}"
if [ -n "${GH_TOKEN:-}" ]; then
  bash ci/github-releases.sh push "$releases"
else
  echo "No GH_TOKEN: the releases stay in $releases"
fi
