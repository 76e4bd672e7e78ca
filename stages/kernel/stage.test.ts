import { access } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { renderStage } from '../testing.ts';
import { kernel } from './stage.ts';

const path = '/etc/sysctl.d/90-gateway.conf';

function keys(text: string): string[] {
  return [...text.matchAll(/^([a-z][\w.]+) = /gm)].map(([, key = '']) => key);
}

test('a VPN gateway routes, in IPv4 and IPv6 alike; with forward off it does not', async () => {
  const on = (await renderStage(kernel)).text(path);
  expect(on).toContain('net.ipv4.ip_forward = 1\n');
  expect(on).toContain('net.ipv6.conf.all.forwarding = 1\n');
  const off = (await renderStage(kernel, { forward: false })).text(path);
  expect(off).toContain('net.ipv4.ip_forward = 0\n');
  expect(off).toContain('net.ipv6.conf.all.forwarding = 0\n');
});

test('each key stands once, and the kernel knows it', async () => {
  const all = keys((await renderStage(kernel)).text(path));
  expect(all.length).toBeGreaterThan(25);
  expect(new Set(all).size).toBe(all.length);
  // This host's kernel may be built without some; the boot test asks the device's for all.
  for (const key of all.filter((name) => name.startsWith('net.ipv4.')))
    await access(`/proc/sys/${key.replaceAll('.', '/')}`);
});
