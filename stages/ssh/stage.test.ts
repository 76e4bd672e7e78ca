import { expect, test } from 'vitest';
import { renderStage } from '../testing.ts';
import { ssh } from './stage.ts';

const config = '/etc/ssh/sshd_config.d/10-gateway.conf';

test('nobody logs in with a password, and root not at all', async () => {
  const text = (await renderStage(ssh)).text(config);
  for (const line of [
    'PasswordAuthentication no',
    'PermitRootLogin no',
    'AuthenticationMethods publickey',
    'AllowGroups sudo',
  ])
    expect(text).toMatch(new RegExp(`^${line}$`, 'm'));
});

test('key exchange starts with the post-quantum ones, and has no NIST curve or SHA-1', async () => {
  const text = (await renderStage(ssh)).text(config);
  expect(text).toMatch(/^KexAlgorithms mlkem768x25519-sha256,sntrup761x25519-sha512,/m);
  expect(text).not.toMatch(/nistp|sha1|cbc|group1-|group14-/);
});

test('the port goes to sshd and fail2ban, and networks of the admin are never banned', async () => {
  const files = await renderStage(ssh, { port: 2222, never_ban: ['192.168.1.0/24', 'fd00::/64'] });
  expect(files.text(config)).toContain('Port 2222\n');
  const jail = files.text('/etc/fail2ban/jail.d/10-gateway.local');
  expect(jail).toContain('port = 2222\n');
  expect(jail).toContain('ignoreip = 127.0.0.1/8 ::1 192.168.1.0/24 fd00::/64\n');
  expect(jail).toContain('backend = systemd\n');
});

test('a port of 0, a network with host bits and an unknown option are refused', () => {
  for (const bad of [{ port: 0 }, { never_ban: ['10.0.0.1/8'] }, { prot: 22 }])
    expect(ssh.options.safeParse(bad).success).toBe(false);
});
