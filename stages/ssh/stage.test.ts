import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { ssh, strongModuli } from './stage.ts';

const config = '/etc/ssh/sshd_config.d/10-gateway.conf';
const vpn = { wireguard: wireguard.options.parse({}) };

function setting(text: string, name: string): string | undefined {
  return new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1];
}

test('nobody logs in with a password, and root not at all', async () => {
  const files = await renderStage(ssh);
  const text = files.text(config);
  for (const line of [
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin no',
    'AuthenticationMethods publickey',
    'AllowGroups sudo',
  ])
    expect(text).toMatch(new RegExp(`^${line}$`, 'm'));
  expect(files.mode(config)).toBe(0o600);
});

test("algorithms are those of ssh-audit's policy for Debian 13: post-quantum key exchange only", async () => {
  const text = (await renderStage(ssh)).text(config);
  expect(setting(text, 'KexAlgorithms')?.split(',')).toEqual([
    'mlkem768x25519-sha256',
    'sntrup761x25519-sha512',
    'sntrup761x25519-sha512@openssh.com',
  ]);
  expect(setting(text, 'MACs')).toMatch(/^(?:[a-z0-9-]+-etm@openssh\.com,?)+$/);
  for (const name of [
    'HostKeyAlgorithms',
    'HostbasedAcceptedAlgorithms',
    'PubkeyAcceptedAlgorithms',
  ])
    expect(setting(text, name)).toMatch(/^sk-ssh-ed25519-cert-v01@openssh\.com,.*,rsa-sha2-256$/);
  expect(text.match(/^[^#].*/gm)?.join('\n')).not.toMatch(/nistp|sha1|cbc|group\d|ecdsa/);
});

test('no setting stands twice: sshd takes the first and is silent about the other', async () => {
  const text = (await renderStage(ssh, { listen: 'vpn' }, vpn)).text(config);
  const names = [...text.matchAll(/^([A-Z]\w+) /gm)].map(([, name = '']) => name);
  const once = names.filter((name) => !['HostKey', 'ListenAddress'].includes(name));
  expect(new Set(once).size).toBe(once.length);
});

test('the port goes to sshd and fail2ban, and networks of the admin are never banned', async () => {
  const files = await renderStage(ssh, { port: 2222, never_ban: ['192.168.1.0/24', 'fd00::/64'] });
  expect(files.text(config)).toContain('Port 2222\n');
  expect(setting(files.text(config), 'PerSourcePenaltyExemptList')).toBe(
    '127.0.0.0/8,::1/128,192.168.1.0/24,fd00::/64',
  );
  const jail = files.text('/etc/fail2ban/jail.d/10-gateway.local');
  expect(jail).toContain('port = 2222\n');
  expect(jail).toContain('ignoreip = 127.0.0.1/8 ::1 192.168.1.0/24 fd00::/64\n');
  expect(jail).toContain('backend = systemd\n');
  expect(jail).toContain('bantime.maxtime = 7d\n');
});

test('listen: vpn binds the addresses of the VPN alone, also while it is down', async () => {
  const files = await renderStage(ssh, { listen: 'vpn' }, vpn);
  expect(files.text(config)).toContain(
    'ListenAddress 10.66.0.1\nListenAddress fd66:6761:7465::1\n',
  );
  expect(files.text('/etc/sysctl.d/91-gateway-ssh.conf')).toContain('ip_nonlocal_bind = 1');
  const open = await renderStage(ssh, {}, vpn);
  expect(open.text(config)).not.toMatch(/^ListenAddress/m);
  expect(open.text('/etc/sysctl.d/91-gateway-ssh.conf')).not.toMatch(/^[^#\n]/m);
});

test('listen: vpn without a VPN is refused', () => {
  const options = ssh.options.parse({ listen: 'vpn' });
  expect(ssh.validate?.(options, { name: 'x', stages: {}, ports: [] })).toMatchObject([
    { path: ['listen'] },
  ]);
  expect(ssh.validate?.(options, { name: 'x', stages: vpn, ports: [] })).toEqual([]);
});

test('a CA that is given is trusted, and else none', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-ca-'));
  try {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'ca')]);
    const ca = (await readFile(join(folder, 'ca.pub'), 'utf8')).trim();
    const files = await renderStage(ssh, { trusted_user_ca_keys: [ca] });
    expect(setting(files.text(config), 'TrustedUserCAKeys')).toBe('/etc/ssh/gateway_user_ca_keys');
    const keys = join(folder, 'keys');
    await writeFile(keys, files.text('/etc/ssh/gateway_user_ca_keys'));
    expect((await run('ssh-keygen', ['-l', '-f', keys])).stdout.trim().split('\n')).toHaveLength(1);
    expect((await renderStage(ssh)).text(config)).not.toContain('TrustedUserCAKeys');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('moduli under 3072 bit go', () => {
  const line = (bits: number) => `20250101000000 2 6 100 ${bits} 2 ABCD`;
  expect(strongModuli(`# comment\n${line(2047)}\n${line(3071)}\n${line(4095)}\n`)).toBe(
    `# comment\n${line(3071)}\n${line(4095)}\n`,
  );
});

test('bad options are refused', () => {
  for (const bad of [
    { port: 0 },
    { never_ban: ['10.0.0.1/8'] },
    { prot: 22 },
    { ban_time: '10' },
    { ban_time_max: 'forever' },
    { listen: 'lan' },
    { trusted_user_ca_keys: ['ssh-ed25519 AAAA'] },
  ])
    expect(ssh.options.safeParse(bad).success, JSON.stringify(bad)).toBe(false);
});
