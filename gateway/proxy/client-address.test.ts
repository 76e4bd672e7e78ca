import { request } from 'node:https';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestApi } from '../api/testing.ts';

let gateway: TestApi;

beforeAll(async () => {
  gateway = await TestApi.start();
});
afterAll(() => gateway.stop());

/** Where an admin who restarts a service comes from, as the audit log has it. */
async function address(headers: Record<string, string>): Promise<string | undefined> {
  const { token } = await gateway.accounts.addToken('cli/root', {
    name: `from-${Math.random()}`,
    role: 'admin',
  });
  await new Promise((resolve, reject) => {
    const asked = request(
      `${gateway.url}/api/v1/vpn/clients`,
      {
        ca: gateway.certificate.cert,
        headers: { authorization: `Bearer ${token}`, ...headers },
      },
      (answer) => answer.resume().on('end', resolve),
    );
    asked.on('error', reject);
    asked.end();
  });
  return gateway.asked.at(-1)?.actor.address;
}

test('the API takes from the proxy, which is on this device, who asks', async () => {
  expect(await address({})).toBe('127.0.0.1');
  expect(await address({ 'x-forwarded-for': '192.168.10.9' })).toBe('192.168.10.9');
  expect(await address({ 'x-forwarded-for': 'fd10::9' })).toBe('fd10::9');
});

test('and nothing that is no address, or a list of them', async () => {
  for (const one of ['10.0.0.1, 10.0.0.2', 'attic', 'x'.repeat(200), ''])
    expect(await address({ 'x-forwarded-for': one })).toBe('127.0.0.1');
});
