import { expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { device } from '../../builder/qemu/harness.ts';

/** A login from outside, with nothing but what is given; true if it got in. */
async function login(
  user: string,
  options: readonly string[],
): Promise<{ in: boolean; text: string }> {
  const { host, sshPort } = device();
  const result = await run(
    'ssh',
    [
      '-F',
      'none',
      '-p',
      String(sshPort),
      '-o',
      'StrictHostKeyChecking=no',
      '-o',
      'UserKnownHostsFile=/dev/null',
      '-o',
      'BatchMode=yes',
      ...options,
      `${user}@${host}`,
      'true',
    ],
    { okCodes: [255], timeout: 120_000 },
  );
  return { in: result.exitCode === 0, text: result.stderr };
}

test('the admin gets in by key; root does not with the same key', async () => {
  const key = ['-i', device().key.path, '-o', 'IdentitiesOnly=yes'];
  expect((await login('gateway', key)).in).toBe(true);
  expect((await login('root', key)).in).toBe(false);
});

test('no password is ever asked for', async () => {
  const attempt = await login('gateway', [
    '-o',
    'PubkeyAuthentication=no',
    '-o',
    'PreferredAuthentications=password,keyboard-interactive',
  ]);
  expect(attempt.in).toBe(false);
  expect(attempt.text).toContain('Permission denied (publickey)');
});

test('sshd speaks post-quantum key exchange, and nothing that it should not', async () => {
  const effective = await device().ssh('sudo sshd -T');
  expect(effective).toMatch(/^kexalgorithms mlkem768x25519-sha256,/m);
  expect(effective).toMatch(/^passwordauthentication no$/m);
  expect(effective).toMatch(/^permitrootlogin no$/m);
  expect(effective).not.toMatch(/hmac-sha1|nistp|3des|cbc/);
});

test('fail2ban watches sshd through the journal', async () => {
  expect(await device().ssh('sudo fail2ban-client status sshd')).toContain('Journal matches');
});

test("what the stage turned off stays off, also after the first boot's presets", async () => {
  const state = await device().sshResult('systemctl is-enabled ssh.socket');
  expect(state.stdout.trim()).toBe('disabled');
});
