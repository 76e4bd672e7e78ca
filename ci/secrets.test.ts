import { expect, test } from 'vitest';
import { secretsIn } from './secrets.ts';

test('the scan for secrets finds keys and tokens, and does not repeat them', async () => {
  // Put together here, so that no scanner takes this file for a leak.
  const token = ['ghp', 'abcdefghijklmnopqrstuvwxyz0123456789'].join('_');
  const key = `-----BEGIN OPENSSH ${'PRIVATE'} KEY-----\n${'b3BlbnNzaC1rZXktdjEAAAAA'.repeat(8)}\n-----END OPENSSH ${'PRIVATE'} KEY-----\n`;
  for (const secret of [`token: ${token}\n`, key]) {
    const found = await secretsIn('settings.yaml', secret);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('settings.yaml:1: ');
    expect(found[0]).not.toContain(token);
  }
});

test('examples of guides are no secrets', async () => {
  expect(
    await secretsIn('a.md', 'https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXXXXXXXXXX'),
  ).toEqual([]);
  const login = (host: string) => `https://${['ada', 'word'].join(':')}@${host}/`;
  expect(await secretsIn('a.md', login('example.org'))).toEqual([]);
  expect(await secretsIn('a.md', login('example.com'))).toHaveLength(1);
});
