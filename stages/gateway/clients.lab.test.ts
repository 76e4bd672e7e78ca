import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';
import type { Answered, RelayClient } from '../../builder/lab/relay.ts';
import { newPrivateKey, publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import {
  type Account,
  type Door,
  daemonMemory,
  type Footing,
  footing,
  logIn,
  makeAccount,
  openDoor,
  quantile,
} from './lab-api.ts';

/**
 * Many VPN clients on the running device. How long something takes is the emulation's: it is recorded, and
 * held only to ten times what a Pi is to take.
 */

const device = lab();
const { ssh, sshResult } = device;

/** Seconds for adding clients one by one; the rest then come as files. */
const patience = Number(process.env.LAB_CLIENT_SECONDS ?? 200);

/** What issue and docs promise for a Pi, in milliseconds. */
const promised = { add: 300, list: 100 };

type Client = {
  name: string;
  note: string;
  addresses: string[];
  public_key: string;
  state: string;
  live: object | null;
};

let door: Door;
let admin: Account;
let client: RelayClient;
let session: Record<string, string>;
let before: Footing;
/** Files of peers that were there before; and names of those that this file has made. */
let others: string[];
const prefix = 'lab-';

beforeAll(async () => {
  door = await openDoor(device);
  admin = await makeAccount(device, 'lab-owner', 'admin');
  client = door.client();
  session = await logIn(client, admin);
  await removeAll();
  others = await peerFiles();
  before = await footing(device);
});

afterAll(async () => {
  await removeAll();
  client?.close();
  await door?.close();
  // Refused if it is the last admin.
  await sshResult('sudo pi-gateway account remove lab-owner');
});

const peerFiles = async () =>
  (await ssh('sudo ls /etc/wireguard/peers.d')).split('\n').filter(Boolean);

/** Of all clients of this file at once, as nobody would wait for a thousand answers. */
async function removeAll(): Promise<void> {
  await ssh(
    `sudo sh -c 'cd /etc/wireguard && find peers.d clients -name "${prefix}*" -delete; /usr/lib/pi-gateway/wireguard-peer load'`,
    300,
  );
}

const ask = (method: string, path: string, body?: unknown): Promise<Answered> =>
  client.ask({
    method,
    path: `/api/v1/vpn/clients${path}`,
    headers: session,
    ...(body === undefined ? {} : { body }),
  });

async function add(name: string, wish: object = {}): Promise<number> {
  const { status, text, ms } = await ask('POST', '', { name, ...wish });
  expect(status, text).toBe(201);
  return ms;
}

async function list(): Promise<{ clients: Client[]; ms: number }> {
  const { status, text, ms } = await ask('GET', '');
  expect(status).toBe(200);
  return { clients: (JSON.parse(text) as { clients: Client[] }).clients, ms };
}

/** Milliseconds of the list: the first after a change, and those after it. */
async function listTimes(): Promise<{ first: number; next: number[] }> {
  const first = (await list()).ms;
  const next: number[] = [];
  for (let n = 0; n < 7; n++) next.push((await list()).ms);
  return { first, next };
}

/** Puts clients on the device as files, as a backup or an owner by hand does; with IPv6 alone, of which there are enough. */
async function addAsFiles(names: readonly string[]): Promise<void> {
  const text = names
    .map((name, n) =>
      [
        `@${name}.conf`,
        '[Peer]',
        `PublicKey = ${publicKeyOf(newPrivateKey())}`,
        `PresharedKey = ${newPrivateKey()}`,
        `AllowedIPs = fd66:6761:7465::1:${(n + 1).toString(16)}/128`,
        '',
      ].join('\n'),
    )
    .join('');
  await ssh(
    `sudo sh -c 'umask 077; cd /etc/wireguard/peers.d && awk "/^@/ { close(file); file = substr(\\$0, 2); next } { print > file }"'`,
    120,
    Buffer.from(text),
  );
}

/** Milliseconds on the device's own clock. */
async function timed(command: string): Promise<number> {
  const text = await ssh(
    `begun=$(date +%s%N); ${command} > /dev/null; echo $((($(date +%s%N) - begun) / 1000000))`,
    400,
  );
  return Number(text);
}

/** Elements of one of the sets that say which client reaches what. */
async function elements(set: string): Promise<string[]> {
  type Listed = { nftables: { set?: { elem?: string[] } }[] };
  const { nftables } = JSON.parse(await ssh(`sudo nft -j list set inet gateway ${set}`)) as Listed;
  return nftables.flatMap((one) => one.set?.elem ?? []);
}

/** List, files, the kernel's peers and the firewall's sets all say the same. */
async function agree(): Promise<Client[]> {
  const { clients } = await list();
  expect((await peerFiles()).filter((one) => one.endsWith('.conf')).toSorted()).toEqual(
    clients.map(({ name }) => `${name}.conf`).toSorted(),
  );
  const active = clients.filter(({ state }) => state === 'active');
  const peers = (await ssh('sudo wg show wg0 peers')).trim().split('\n').filter(Boolean);
  expect(peers.toSorted()).toEqual(active.map((one) => one.public_key).toSorted());
  const notLive = async () =>
    (await list()).clients.filter(({ state, live }) => state === 'active' && live === null).length;
  await expect.poll(notLive, { timeout: 20_000 }).toBe(0);
  const addresses = active.flatMap((one) => one.addresses);
  expect(new Set(addresses).size).toBe(addresses.length);
  for (const [set, isOf] of [
    ['vpn_gateway4', (one: string) => !one.includes(':')],
    ['vpn_gateway6', (one: string) => one.includes(':')],
  ] as const)
    expect((await elements(set)).length, set).toBe(addresses.filter(isOf).length);
  return clients;
}

test('200 clients: each is added and then listed in less than ten times of what a Pi may take (300 ms, 100 ms)', {
  timeout: (patience + 240) * 1000,
}, async () => {
  const names = Array.from(
    { length: 200 },
    (_, n) => `${prefix}phone-${String(n + 1).padStart(4, '0')}`,
  );
  const times: number[] = [];
  const begun = performance.now();
  while (times.length < names.length && performance.now() - begun < patience * 1000)
    times.push(await add(names[times.length] ?? ''));
  const added = times.length;
  if (added < names.length) {
    await addAsFiles(names.slice(added));
    await ssh('sudo /usr/lib/pi-gateway/wireguard-peer load', 300);
  }
  const { first, next } = await listTimes();
  await recordFigure('vpn 200 clients', {
    unit: 'ms',
    'added one by one': added,
    add: { median: quantile(times, 0.5), p95: quantile(times, 0.95) },
    'add, the first ten': quantile(times.slice(0, 10), 0.5),
    'add, the last ten': quantile(times.slice(-10), 0.5),
    'list, first after a change': Math.round(first),
    list: { median: quantile(next, 0.5), p95: quantile(next, 0.95) },
  });
  expect(added).toBeGreaterThanOrEqual(50);
  const clients = await agree();
  expect(clients.filter(({ name }) => name.startsWith(`${prefix}phone-`)).length).toBe(200);
  expect(quantile(times, 0.5)).toBeLessThan(10 * promised.add);
  expect(quantile(next, 0.5)).toBeLessThan(10 * promised.list);
});

/** Adds clients by asking the helper itself, all at once, as the daemon would; what it said to each. */
const askingHelper = (names: readonly string[]) => `
  import { connect } from 'node:net';
  const names = ${JSON.stringify(names)};
  const socket = connect('/run/pi-gateway/helper.sock');
  names.forEach((name, id) =>
    socket.write(JSON.stringify({ id, verb: 'vpn.add', args: { name }, actor: { via: 'cli', name: 'lab' } }) + '\\n'));
  let text = '';
  socket.on('data', (data) => {
    text += data;
    if (text.split('\\n').length > names.length) {
      process.stdout.write(text);
      socket.end();
    }
  });`;

test('changes by the API, the command line and the helper at once lose nothing', {
  timeout: 400_000,
}, async () => {
  const already = await list();
  const changing = already.clients.filter(({ name }) => name.startsWith(`${prefix}phone-`));
  expect(changing.length).toBeGreaterThanOrEqual(20);
  const [noted, gone] = [changing.slice(0, 10), changing.slice(10, 16)];
  const named = (kind: string, count: number) =>
    Array.from({ length: count }, (_, n) => `${prefix}${kind}-${n + 1}`);
  const [byApi, byCli, byHelper] = [named('api', 12), named('cli', 6), named('helper', 10)];
  const begun = performance.now();
  const encoded = Buffer.from(askingHelper(byHelper)).toString('base64');
  const second = door.client();
  const secondSession = await logIn(second, admin);
  const [helped] = await Promise.all([
    ssh(`sudo node -e "import('data:text/javascript;base64,${encoded}')"`, 300),
    (async () => {
      for (const name of byApi) await add(name, { note: `of ${name}` });
    })(),
    // Another browser of the owner, at the same time.
    (async () => {
      for (const { name } of noted) {
        const path = `/api/v1/vpn/clients/${name}`;
        const body = { note: `noted ${name}`, zones: ['wan', 'gateway'] };
        const answer = await second.ask({ method: 'PATCH', path, headers: secondSession, body });
        expect(answer.status, answer.text).toBe(200);
      }
    })(),
    ssh(
      byCli
        .map((name) => `sudo pi-gateway vpn add ${name} --note 'of ${name}' > /dev/null`)
        .join(' && '),
      300,
    ),
    ssh(gone.map(({ name }) => `sudo pi-gateway vpn revoke ${name} > /dev/null`).join(' && '), 300),
  ]);
  second.close();
  const replies = helped
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: number; ok: boolean; message?: string });
  expect(replies.filter(({ ok }) => !ok)).toEqual([]);
  expect(replies.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(byHelper.map((_, n) => n));
  await recordFigure('vpn changes at once', {
    changes: byApi.length + byCli.length + byHelper.length + noted.length + gone.length,
    seconds: Math.round((performance.now() - begun) / 1000),
  });

  const after = new Map((await agree()).map((one) => [one.name, one]));
  const expected = new Set([
    ...already.clients.map(({ name }) => name).filter((name) => !gone.some((g) => g.name === name)),
    ...byApi,
    ...byCli,
    ...byHelper,
  ]);
  expect([...after.keys()].toSorted()).toEqual([...expected].toSorted());
  for (const name of [...byApi, ...byCli]) expect(after.get(name)?.note).toBe(`of ${name}`);
  for (const { name, public_key, addresses } of noted)
    expect(after.get(name)).toMatchObject({
      ...{ public_key, addresses, note: `noted ${name}`, zones: ['wan', 'gateway'] },
    });
  // What was taken from those ten is in the firewall, too.
  expect((await elements('vpn_gateway4')).length - (await elements('vpn_lan4')).length).toBe(
    noted.filter(({ addresses }) => addresses.some((one) => !one.includes(':'))).length,
  );
});

describe('1,000 clients (those beyond the first come as files, loaded at once)', () => {
  test('are all in force, listed, added to and revoked from', { timeout: 600_000 }, async () => {
    const there = (await list()).clients.length;
    const names = Array.from(
      { length: Math.max(0, 1000 - there) },
      (_, n) => `${prefix}many-${String(n + 1).padStart(4, '0')}`,
    );
    await addAsFiles(names);
    const load = await timed('sudo /usr/lib/pi-gateway/wireguard-peer load');
    const again = await timed('sudo /usr/lib/pi-gateway/wireguard-peer load');
    const { first, next } = await listTimes();
    const clients = await agree();
    expect(clients.length).toBe(Math.max(1000, there));
    const adds: number[] = [];
    for (let n = 0; n < 4; n++) adds.push(await add(`${prefix}late-${n + 1}`));
    const revokes: number[] = [];
    for (let n = 0; n < 4; n++) {
      const { status, ms } = await ask('DELETE', `/${prefix}late-${n + 1}`);
      expect(status).toBe(204);
      revokes.push(ms);
    }
    expect((await agree()).length).toBe(clients.length);
    const command = await timed('sudo pi-gateway vpn list --json');
    await recordFigure('vpn 1000 clients', {
      unit: 'ms',
      'wireguard-peer load of the new ones': load,
      'wireguard-peer load without a change': again,
      'list, first after a change': Math.round(first),
      list: { median: quantile(next, 0.5), p95: quantile(next, 0.95) },
      add: quantile(adds, 0.5),
      revoke: quantile(revokes, 0.5),
      'pi-gateway vpn list': command,
      'MiB of the daemon': await daemonMemory(device),
    });
    expect(load).toBeLessThan(60_000);
    // Five times as many clients as those of which 100 ms are promised, on a machine ten times as slow.
    expect(quantile(next, 0.5)).toBeLessThan(5 * 10 * promised.list);
    expect(quantile(adds, 0.5)).toBeLessThan(5 * 10 * promised.add);
  });

  test('are gone at once when their files are, and the device is as it was', {
    timeout: 400_000,
  }, async () => {
    const begun = performance.now();
    await removeAll();
    await recordFigure('vpn 1000 clients removed', {
      ms: Math.round(performance.now() - begun),
    });
    const clients = await agree();
    expect(clients.map(({ name }) => `${name}.conf`).toSorted()).toEqual(
      others.filter((one) => one.endsWith('.conf')).toSorted(),
    );
    expect(await footing(device)).toEqual(before);
  });
});
