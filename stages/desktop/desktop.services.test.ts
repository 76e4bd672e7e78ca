import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import type { LabHost } from '../../builder/lab/namespace.ts';
import { send } from '../../builder/lab/traffic.ts';
import { makePeerKeys, openTunnel, type Tunnel } from '../../builder/lab/wireguard-peer.ts';
import type { DesktopAccess, DesktopView } from '../../gateway/desktop/view.ts';

const { dmz, facts, guest, lan, peer, ssh, sshResult, wan } = lab();
const viewer = fileURLToPath(new URL('../../gateway/desktop/viewer-main.ts', import.meta.url));
const unit = 'pi-gateway-desktop.service';
const address = '10.66.0.1';
const port = 5900;
let tunnel: Tunnel;

beforeAll(async () => {
  const keys = await makePeerKeys();
  await ssh(
    [
      'sudo tee /etc/wireguard/peers.d/viewer.conf > /dev/null <<END',
      '[Peer]',
      `PublicKey = ${keys.publicKey}`,
      `PresharedKey = ${keys.presharedKey}`,
      'AllowedIPs = 10.66.0.8/32, fd66:6761:7465::8/128',
      'END',
      'sudo chmod 600 /etc/wireguard/peers.d/viewer.conf',
      'sudo /usr/lib/pi-gateway/wireguard-peer load viewer',
    ].join('\n'),
  );
  tunnel = await openTunnel({
    host: peer,
    folder: facts.keyDirectory,
    link: 'wgdesk',
    keys,
    addresses: ['10.66.0.8/32', 'fd66:6761:7465::8/128'],
    gateway: {
      publicKey: (await ssh('sudo cat /etc/wireguard/server.pub')).trim(),
      address: outside.gateway4,
      port: 51820,
    },
    via: '198.51.100.1',
  });
  await peer.run('ping', ['-c', '3', '-W', '15', address]);
});
afterAll(async () => {
  await sshResult('sudo pi-gateway desktop stop');
  await sshResult('sudo /usr/lib/pi-gateway/wireguard-peer remove viewer');
  await tunnel?.close();
});

const look = async (host: LabHost, password: string, seconds = 0) =>
  (
    await host.run(process.execPath, [viewer, address, String(port), password, String(seconds)], {
      okCodes: [1],
      timeout: 180_000,
    })
  ).stdout;
const state = async () =>
  JSON.parse((await sshResult('sudo pi-gateway desktop status --json')).stdout) as DesktopView;
let access: DesktopAccess;

/** Until it listens: under emulation the compositor takes its time. */
async function start(): Promise<void> {
  access = JSON.parse(await ssh('sudo pi-gateway desktop start --json', 120)) as DesktopAccess;
  await expect
    .poll(async () => await ssh(`ss -Hltn sport = :${port}`), { timeout: 120_000, interval: 2000 })
    .toContain(`${address}:${port}`);
}

test('does not run, nor listen, until somebody asks for it', async () => {
  expect(await state()).toMatchObject({ available: true, state: 'stopped', address, port });
  expect(await ssh(`ss -Hltn sport = :${port}`)).toBe('');
  expect(await look(peer, 'x')).toMatch(/^failed/);
});

test('started, it lets a VPN client in with the password of this session alone, over TLS', async () => {
  await start();
  const said = await look(peer, access.password);
  expect(said).toMatch(/^tls TLSv1\.3 /m);
  expect(said).toContain(access.fingerprint);
  expect(said).toMatch(/^in \d+x\d+/m);
  expect(said).toContain('picture yes');
  expect(await ssh('pgrep -u pi-gateway-desktop -l')).toMatch(/ foot$/m);
  expect(await look(peer, 'wrong')).toContain('failed refused');
  expect(await look(peer, '')).toContain('failed');
  // Every way in has encryption and a password: VeNCrypt with X509Plain, RSA-AES.
  expect(said).toMatch(/types (19|129|5)(,(19|129|5))*$/m);
  expect(said).toMatch(/subtypes 262$/m);
});

test('nobody else reaches it: not lan, guest, dmz nor wan, by whichever address', async () => {
  for (const [name, host] of Object.entries({ lan, guest, dmz, wan }))
    for (const to of [address, name === 'wan' ? outside.gateway4 : '192.168.10.1'])
      expect(
        (await send(host, { protocol: 'tcp', to, port, wait: 4 })).kind,
        `${name} to ${to}`,
      ).not.toBe('answer');
  expect(await look(lan, access.password)).toMatch(/^failed/);
});

test('its password is nowhere: not in the journal, the audit log, a process, or a file that is left', async () => {
  const found = await ssh(
    `sudo sh -c 'journalctl -b --no-pager | grep -cF ${access.password}; grep -rlF ${access.password} /var/log/pi-gateway /etc /run/pi-gateway /var/lib/pi-gateway 2> /dev/null; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2> /dev/null | tr "\\0" "\\n" | grep -F ${access.password} | grep -v grep | grep -cv sh; true'`,
    120,
  );
  // The shell that looks has it in its own command line.
  expect(found.trim().split('\n')[0]).toBe('0');
  expect(found).not.toMatch(/^\//m);
});

test('runs as a user of its own in a sandbox, in little memory, and reaches nobody', async () => {
  const show = await ssh(`systemctl show -p User,NRestarts,MemoryPeak,IPAddressDeny ${unit}`);
  expect(show).toContain('User=pi-gateway-desktop');
  const peak = Number(/MemoryPeak=(\d+)/.exec(show)?.[1]);
  expect(peak).toBeLessThan(256 * 1024 * 1024);
  await recordFigure('remote desktop', { unit: 'MiB', memory: Math.round(peak / 1024 / 1024) });
  const score = await ssh(`sudo systemd-analyze security --no-pager ${unit} | tail -n 1`, 120);
  expect(Number(/: ([\d.]+) /.exec(score)?.[1])).toBeLessThanOrEqual(2);
});

test('a second start ends the first session: its password is void', async () => {
  const old = access.password;
  await start();
  expect(access.password).not.toBe(old);
  expect(await look(peer, old)).toContain('failed refused');
  expect(await look(peer, access.password)).toContain('picture yes');
});

test('stopped, it is gone', async () => {
  await ssh('sudo pi-gateway desktop stop', 60);
  expect((await state()).state).toBe('stopped');
  expect(await ssh(`ss -Hltn sport = :${port}`)).toBe('');
  expect((await ssh('pgrep -u pi-gateway-desktop || true')).trim()).toBe('');
});

test('ends by itself when nobody has looked for its time', async () => {
  await ssh(
    `sudo sh -c 'mkdir -p /run/systemd/system/${unit}.d && printf "[Service]\\nEnvironment=IDLE_MINUTES=1\\n" > /run/systemd/system/${unit}.d/idle.conf && systemctl daemon-reload'`,
    60,
  );
  await start();
  // Somebody who looks keeps it.
  const looking = look(peer, access.password, 80);
  await new Promise((resolve) => setTimeout(resolve, 75_000));
  expect((await state()).state).toBe('running');
  expect(await looking).toContain('picture yes');
  await expect
    .poll(async () => (await state()).state, { timeout: 150_000, interval: 5000 })
    .toBe('stopped');
  await ssh(`sudo rm -r /run/systemd/system/${unit}.d && sudo systemctl daemon-reload`, 60);
});
