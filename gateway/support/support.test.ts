import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { newPrivateKey } from '../../firstboot/wireguard-keys.ts';
import type { World } from '../doctor/examination.ts';
import { FakeSystemd } from '../services/testing.ts';
import { writeBundle } from './bundle.ts';

let root = '';
let output = '';
let world: World;
let systemd: FakeSystemd;

/** What must never be in a bundle, and where the device has it. */
const planted = {
  serverKey: newPrivateKey(),
  clientKey: newPrivateKey(),
  presharedKey: newPrivateKey(),
  claimCode: '7Q2K-M0XV-3WZT-9HJP',
  ddnsToken: '2c5a3f2e-secret-token',
  smtpPassword: 'hunter two',
  webhook: 'https://hooks.example.org/T0/B0/AbCdEf',
  wifi: 'correct horse "battery" staple',
  wifiKey: '0f'.repeat(32),
  shadow: '$6$saltsalt$QwErTyUiOpAsDfGhJkLzXcVbNm1234567890',
  backup: 'vN3k8xQ0b1C2d3E4f5G6h7I8j9K0l1M2n3O4p5Q6r7S',
  age: 'AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0S',
  totp: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP',
  accountHash:
    '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$0123456789abcdefghijklmnopqrstuvwxyzABCDEFG',
  caKey: 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0123456789abcdef',
  machineId: 'e81db6f119ae44528c4e8c299e23f174',
};

/** An API token: the device has only a digest of it, and it is known by its looks alone. */
const token = 'pgw_0123456789abcdefghijKLMNOP';

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-support-test-'));
  output = join(root, 'bundle.tar.gz');
  await mkdir(join(root, 'tmp'));
  await put('etc/machine-id', `${planted.machineId}\n`);
  await put('etc/wireguard/server.key', `${planted.serverKey}\n`);
  await put(
    'etc/wireguard/peers.d/phone.conf',
    `[Peer]\nPublicKey = ${newPrivateKey()}\nPresharedKey = ${planted.presharedKey}\n`,
  );
  await put('etc/wireguard/clients/phone.conf', `[Interface]\nPrivateKey = ${planted.clientKey}\n`);
  await put('var/lib/pi-gateway/claim/code', `${planted.claimCode}\n`);
  await put(
    'etc/pi-gateway/ddns.yaml',
    `providers:\n  - { type: duckdns, hostnames: [attic.duckdns.org], token: ${planted.ddnsToken} }\n`,
  );
  await put(
    'etc/pi-gateway/gateway.yaml',
    `# old: password: ${planted.smtpPassword}\nalerts:\n  mail:\n    password: "${planted.smtpPassword}"\n  webhook:\n    url: ${planted.webhook}\n`,
  );
  await put(
    'etc/NetworkManager/system-connections/owner-wlan0.nmconnection',
    `[wifi-security]\nkey-mgmt=wpa-psk\npsk=${planted.wifi}\n`,
  );
  await put(
    'etc/wpa_supplicant/wpa_supplicant-wlan0.conf',
    `network={\n  ssid="attic"\n  psk=${planted.wifiKey}\n}\n`,
  );
  await put('etc/shadow', `root:!:20000::::::\nada:${planted.shadow}:20000:0:::::\n`);
  await put('etc/pi-gateway/backup/password', `${planted.backup}\n`);
  await put('etc/pi-gateway/age/identity.txt', `# public key: age1xyz\n${planted.age}\n`);
  await put(
    'etc/pi-gateway/ca/root.key',
    `-----BEGIN PRIVATE KEY-----\n${planted.caKey}\n-----END PRIVATE KEY-----\n`,
  );
  await put(
    'var/lib/pi-gatewayd/accounts.json',
    JSON.stringify({
      accounts: [{ name: 'ada', hash: planted.accountHash, totp: { secret: planted.totp } }],
    }),
  );
  systemd = new FakeSystemd(root, { 'ssh.service': {} });
  // A device on which every program tells everything.
  const all = Object.values(planted);
  const spilled = [
    ...all,
    token,
    ...all.map((secret) => encodeURIComponent(secret)),
    ...all.map((secret) => Buffer.from(secret).toString('base64')),
    ...all.map(
      (secret) =>
        `GET https://ada:${encodeURIComponent(secret)}@example.org/x?t=${encodeURIComponent(secret)}`,
    ),
  ].join('\n');
  for (const name of [
    'uname',
    'dpkg-query',
    'nft',
    'wg',
    'ip',
    'networkctl',
    'df',
    'findmnt',
    'free',
  ])
    systemd.programs.set(name, () => `${spilled}\n`);
  systemd.programs.set('journalctl', () =>
    spilled
      .split('\n')
      .map(
        (MESSAGE) =>
          `${JSON.stringify({ __CURSOR: 's=0', __REALTIME_TIMESTAMP: '1767225600000000', SYSLOG_IDENTIFIER: 'x', MESSAGE })}\n`,
      )
      .join(''),
  );
  systemd.programs.set('tar', async (args) => (await run('tar', args)).stdout);
  await put('var/log/pi-gateway/audit.jsonl', `${JSON.stringify({ args: all })}\n`);
  // The folder is that of the service's own user, who put a link there.
  await put('etc/secret', 'for root alone');
  await mkdir(join(root, 'run/pi-gateway-ddns'), { recursive: true });
  await rm(join(root, 'run/pi-gateway-ddns/status.json'), { force: true });
  await symlink(join(root, 'etc/secret'), join(root, 'run/pi-gateway-ddns/status.json'));
  await put('var/log/apt/history.log', 'Start-Date: 2026-01-01\nInstall: openssl\n');
  world = {
    system: systemd.system,
    interfaces: {},
    lookup: async () => [],
    get: async () => 200,
    outside: async () => undefined,
    now: () => Date.UTC(2026, 0, 1),
  };
});
afterEach(() => rm(root, { recursive: true }));

test('no secret of the device is in the bundle, in no encoding, whoever has written it down', async () => {
  await writeBundle(world, output);
  const text = gunzipSync(await readFile(output)).toString('latin1');
  for (const [name, secret] of Object.entries(planted))
    for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
      expect(text.includes(form), name).toBe(false);
  expect(text.includes(token)).toBe(false);
  // No part of one either.
  for (const part of ['hunter', 'correct horse', 'battery', 'QwErTyUi', '9HJP'])
    expect(text.includes(part), part).toBe(false);
});

test('what helps is in it: each file that it names, with what the device has said', async () => {
  const made = await writeBundle(world, output);
  const { stdout } = await run('tar', ['-tzf', output]);
  const names = stdout.trim().split('\n');
  expect(names).toEqual(
    expect.arrayContaining([
      'pi-gateway-support/README.txt',
      ...made.files.map(({ name }) => `pi-gateway-support/${name}`),
    ]),
  );
  expect(made.bytes).toBe((await stat(output)).size);
  const read = async (name: string) =>
    (await run('tar', ['-xzOf', output, `pi-gateway-support/${name}`])).stdout;
  expect(await read('history.txt')).toContain('Install: openssl');
  expect(await read('history.txt')).not.toContain('root alone');
  expect(await read('services.json')).toContain('ssh.service');
  expect(await read('firewall.txt')).toContain('$ nft list ruleset');
  expect(await read('doctor.json')).toContain('first-boot');
  // A program that is not there is told, and ends nothing.
  expect(await read('network.txt')).toContain('resolvectl failed');
  expect(await read('README.txt')).toContain('look through it before you give it to others');
});

test('it is for its owner alone, and nothing is left beside it', async () => {
  await writeBundle(world, output);
  expect((await stat(output)).mode & 0o777).toBe(0o600);
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
});

test('a file that is there is not overwritten', async () => {
  await writeFile(output, 'mine');
  await expect(writeBundle(world, output)).rejects.toMatchObject({ kind: 'conflict' });
  expect(await readFile(output, 'utf8')).toBe('mine');
});

test('when it fails, no half of a bundle is left', async () => {
  systemd.programs.set('tar', () => {
    throw new Error('tar failed: No space left on device');
  });
  await expect(writeBundle(world, output)).rejects.toThrow('No space left');
  await expect(stat(output)).rejects.toThrow();
  expect(await readdir(join(root, 'tmp'))).toEqual([]);
});
