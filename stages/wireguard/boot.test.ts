import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('wg0 is up with a key that was made on the device', async () => {
  const [key, port] = (
    await device().ssh('sudo wg show wg0 public-key; sudo wg show wg0 listen-port')
  ).split('\n');
  expect(key).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  expect(port).toBe('51820');
  expect((await device().ssh('sudo cat /etc/wireguard/server.pub')).trim()).toBe(key);
  expect(
    (await device().ssh('sudo stat -c %a:%U /etc/wireguard/server.key /etc/wireguard')).trim(),
  ).toBe('600:root\n700:root');
});

test('it has its address of both families and the MTU', async () => {
  const address = await device().ssh('ip address show wg0');
  expect(address).toContain('inet 10.66.0.1/24');
  expect(address).toContain('inet6 fd66:6761:7465::1/64');
  expect(address).toContain('mtu 1420');
});
