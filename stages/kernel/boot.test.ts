import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('every setting of ours holds on the running kernel', async () => {
  const text = await device().ssh("grep -v '^#' /etc/sysctl.d/90-gateway.conf | grep =");
  const wanted = text
    .trim()
    .split('\n')
    .map((line) => line.split(' = '));
  const names = wanted.map(([name]) => name).join(' ');
  const actual = await device().ssh(`sudo sysctl ${names}`);
  expect(actual.trim().split('\n').sort()).toEqual(wanted.map((pair) => pair.join(' = ')).sort());
});
