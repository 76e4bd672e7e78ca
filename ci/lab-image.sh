#!/usr/bin/env bash
# Builds the lab's image: a router among other hosts. The admin's address is spared and the ceilings are
# higher than a scan of all ports, so that it is the closed ports that keep silent.
set -euo pipefail
cd "$(dirname "$0")/.."
node builder/cli.ts build --env router --raw-only --set name=pi-gateway-lab --set 'base=[debian]' \
  --set 'stages.ssh.never_ban=[172.20.0.10/32, "2001:db8:2::10/128"]' \
  --set stages.firewall.limits.syn_per_second=1300 --set stages.firewall.limits.syn_total_per_second=1500
