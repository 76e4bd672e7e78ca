import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('the ruleset is loaded and drops by default', async () => {
  const rules = await device().ssh('sudo nft list table inet gateway');
  expect(rules).toMatch(/chain input \{\s+type filter hook input priority filter; policy drop;/);
  expect(rules).toMatch(
    /chain forward \{\s+type filter hook forward priority filter; policy drop;/,
  );
  expect(rules).toContain('tcp dport 22 accept');
  expect(rules).toContain('udp dport 51820 accept');
});

test('nothing listens for the network but what the stages open', async () => {
  const sockets = await device().ssh("sudo ss -Hlntu | awk '{print $1, $5}'");
  const open = sockets
    .trim()
    .split('\n')
    .filter((line) => !/ (127\.|\[::1\]|.*%lo:|.*%eth0:68$|\[fe80)/.test(line));
  expect(open.toSorted()).toEqual([
    'tcp 0.0.0.0:22',
    'tcp [::]:22',
    'udp 0.0.0.0:51820',
    'udp [::]:51820',
  ]);
});
