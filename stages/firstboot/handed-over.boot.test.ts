import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { stringify } from 'yaml';
import { output } from '../../builder/exec.ts';
import {
  type DdnsProvider,
  ddnsOf,
  publicAddress,
  startDdnsProvider,
} from '../../builder/qemu/ddns-provider.ts';
import { secretsOnDisk } from '../../builder/qemu/disk-secrets.ts';
import { device } from '../../builder/qemu/harness.ts';
import { adminUser, bootSeconds } from '../../builder/qemu/harness-facts.ts';
import { makeSshKey, type SshKey, ssh, sshResult, waitForSsh } from '../../builder/qemu/ssh.ts';
import { startVm, type Vm } from '../../builder/qemu/vm.ts';
import { connectVpnClient } from '../../builder/qemu/vpn-client.ts';

/*
 * One card, from its owner's gateway-device.yaml to a gateway that is reached by its name and by VPN, and
 * at last the whole disk looked through for what the owner handed in.
 */

const shared = device();
const password = randomUUID();
const token = randomUUID();
const wifi = `wifi-${randomUUID()}`;
let hash = '';
let key: SshKey;
let provider: DdnsProvider;
let vm: Vm;

const target = () => ({ user: adminUser, port: vm.ports[22] ?? 0, key });
/** As root: the owner gave a password, so sudo(8) asks for it. */
const root = (command: string) =>
  ssh(
    target(),
    `sudo -S -p '' sh -c '${command.replaceAll("'", "'\\''")}'`,
    240,
    Buffer.from(`${password}\n`),
  );

beforeAll(
  async () => {
    key = await makeSshKey();
    provider = await startDdnsProvider(token);
    hash = (await output('openssl', ['passwd', '-6', '-stdin'], { input: password })).trim();
    vm = await startVm({
      image: inject('image'),
      diskSize: '4G',
      forwards: { 22: 0 },
      udpForwards: { 51820: 0 },
      bootFiles: {
        'gateway-device.yaml': stringify({
          hostname: 'attic',
          admin: { ssh_authorized_keys: [key.publicKey], password_hash: hash },
          timezone: 'Europe/Berlin',
          network: { wifi: { country: 'DE', ssid: 'Attic', password: wifi } },
          wireguard: { first_client: 'phone' },
          ddns: ddnsOf(provider, token),
        }),
      },
    });
    await vm.whileRunning(waitForSsh(target(), bootSeconds));
  },
  2 * bootSeconds * 1000,
);
afterAll(async () => {
  await vm?.stop();
  await provider?.close();
  await key?.remove();
});

test('the owner logs in by key, and sudo takes the password of the hash', async () => {
  expect((await ssh(target(), 'whoami')).trim()).toBe(adminUser);
  expect((await sshResult(target(), 'sudo -n true')).exitCode).not.toBe(0);
  expect((await root('whoami')).trim()).toBe('root');
});

test('it has the name, the time zone and the Wi-Fi that were asked for', async () => {
  expect((await ssh(target(), 'hostname')).trim()).toBe('attic');
  expect(await ssh(target(), 'readlink /etc/localtime')).toContain('/Europe/Berlin');
  await ssh(target(), 'while ! systemctl is-active -q chrony; do sleep 1; done');
  // The board's clock is not the owner's wall clock.
  const clock = Number(await ssh(target(), 'date +%s'));
  expect(Math.abs(clock - Date.now() / 1000)).toBeLessThan(60);
  const supplicant = await root('cat /etc/wpa_supplicant/wpa_supplicant-wlan0.conf');
  expect(supplicant).toContain('country=DE');
  expect(supplicant).toContain(wifi);
});

test('how long it took is known, and is not minutes', async () => {
  const stamps = await ssh(
    target(),
    'systemctl show -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic --value pi-gateway-firstboot.service',
  );
  const [started = 0, ended = 0] = stamps.trim().split('\n').map(Number);
  const done = (ended / 1e6).toFixed(1);
  process.stdout.write(
    `First boot took ${((ended - started) / 1e6).toFixed(1)} s, and was done ${done} s after the kernel's start\n`,
  );
  expect((ended - started) / 1e6).toBeGreaterThan(0);
  expect((ended - started) / 1e6).toBeLessThan(60);
});

test('its name is registered with the public address, once', async () => {
  await expect
    .poll(() => root('pi-gateway ddns status --json || true'), {
      timeout: 120_000,
      interval: 5000,
    })
    .toContain('"registered": true');
  expect(provider.updates).toHaveLength(1);
  expect(provider.updates[0]?.searchParams.get('ip')).toBe(publicAddress);
  expect(provider.updates[0]?.searchParams.get('domains')).toBe('attic');
});

test("the token is in no process's arguments and in no log", async () => {
  const journal = await root('journalctl -b --no-pager --all --output=export');
  expect(journal).toContain('pi-gateway-ddns.service');
  expect(journal).not.toContain(token);
  // auditd keeps the arguments of what it watches, in hexadecimal where they have blanks.
  const audit = await root('cat /var/log/audit/audit.log');
  expect(audit).not.toContain(token);
  expect(audit).not.toContain(Buffer.from(token).toString('hex').toUpperCase());
});

test('a WireGuard client connects with the configuration that first boot made', async () => {
  const configuration = await root('pi-gateway vpn export phone');
  expect(configuration).toMatch(/^Endpoint = attic\.duckdns\.org:51820$/m);
  const qr = await root('pi-gateway vpn qr phone');
  expect(qr).toContain('█');
  const client = await connectVpnClient({
    configuration,
    port: vm.udpPorts[51820] ?? 0,
    folder: key.directory,
  });
  try {
    for (const gateway of ['10.66.0.1', 'fd66:6761:7465::1'])
      await client.host.run('ping', ['-c', '2', '-W', '20', gateway]);
    // Through the tunnel, out by NAT and back: the provider's server, as the device reaches it.
    const { stdout } = await client.host.run(
      'curl',
      ['--silent', '--insecure', '--max-time', '40', `${provider.url}/ip`],
      { timeout: 60_000 },
    );
    expect(stdout).toBe(publicAddress);
  } finally {
    await client.close();
  }
});

describe('every secret', () => {
  const secretFiles =
    'cat /etc/machine-id /etc/ssh/ssh_host_*_key /etc/wireguard/server.key /etc/pi-gateway/ca/root.key /etc/pi-gateway/age/identity.txt /etc/pi-gateway/backup/password /var/lib/pi-gateway/claim/code /var/lib/pi-gateway/claim/hash /var/lib/systemd/random-seed | base64 -w 0; echo; cat /etc/wireguard/clients/*.conf /etc/wireguard/peers.d/*.conf | grep Key';

  test('is of this device alone: another card of the same image shares none', async () => {
    const lines = (text: string) => {
      const [blob = '', ...keys] = text.trim().split('\n');
      return [
        ...Buffer.from(blob, 'base64')
          .toString('latin1')
          .split('\n')
          .filter((line) => line.length > 15 && !/^-----|^# |b3BlbnNzaC1rZXktdjEA/.test(line)),
        ...keys,
      ];
    };
    const mine = lines(await root(secretFiles));
    const theirs = new Set(lines(await shared.ssh(`sudo sh -c "${secretFiles}"`)));
    expect(mine.length).toBeGreaterThan(40);
    expect(mine.filter((line) => theirs.has(line))).toEqual([]);
  });

  test("is root's alone", async () => {
    const open = await root(
      'find /etc/pi-gateway/ca /etc/pi-gateway/age /etc/pi-gateway/backup /etc/pi-gateway/ddns.yaml /etc/wireguard/server.key /etc/wireguard/clients /var/lib/pi-gateway/claim /etc/wpa_supplicant/wpa_supplicant-wlan0.conf /etc/ssh/ssh_host_*_key -type f ! -name root.crt ! -name recipient.txt ( -perm /077 -o ! -user root )'
        .replace('( ', '\\( ')
        .replace(' )', ' \\)'),
    );
    expect(open).toBe('');
  });
});

test('on the whole disk, what the owner handed in is where it belongs and nowhere else', async () => {
  await sshResult(target(), 'sync');
  await root('systemctl poweroff').catch(() => undefined);
  await vm.ended;
  const found = await secretsOnDisk(vm.directory, { token, hash, wifi });
  const places = (name: string) =>
    [...new Set(found.filter((one) => one.secret === name).map((one) => one.place))].sort();
  expect(places('token')).toEqual(['/etc/pi-gateway/ddns.yaml']);
  expect(places('wifi')).toEqual(['/etc/wpa_supplicant/wpa_supplicant-wlan0.conf']);
  expect(places('hash')).toEqual(['/etc/shadow']);
}, 600_000);
