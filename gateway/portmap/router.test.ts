import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Running } from '../../builder/lab/namespace.ts';
import { Home, home, up } from './testing.ts';
import type { Method, PortmapStatus } from './view.ts';

/** The service against a router in namespaces of its own: Debian's miniupnpd, and ones that mean ill. */
let at: Home;
beforeAll(async () => {
  at = await Home.open();
});
afterAll(async () => {
  await at?.close();
});

const family4 = (status: PortmapStatus) => status.families.find(({ family }) => family === 4);

describe.each([
  ['pcp', 'PCP'],
  ['natpmp', 'NAT-PMP'],
  ['upnp', 'UPnP'],
] satisfies [Method, string][])('miniupnpd, asked by %s', (mapping, name) => {
  let server: Running;
  beforeAll(async () => {
    server = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
  });
  afterAll(async () => {
    await at.set(undefined);
    await server?.stop();
  });

  test('lets the VPN port through: a datagram from the internet reaches the gateway', async () => {
    expect(await at.reaches(home.port)).toBe(false);
    await at.set({ mapping });
    const status = await at.service();
    expect(status).toMatchObject({ state: 'mapped', summary: expect.stringContaining(name) });
    expect(family4(status)).toMatchObject({
      method: mapping,
      router: home.router,
      external_address: home.outside,
      ports: [{ internal: home.port, external: home.port, lifetime: 7200 }],
    });
    expect(await at.reaches(home.port)).toBe(true);
  });

  test('renews it: a router that was restarted has it again after the next run', async () => {
    await server.stop();
    server = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
    expect(await at.rules()).not.toContain(String(home.port));
    expect((await at.service()).state).toBe('mapped');
    expect(await at.rules()).toContain(String(home.port));
    expect((await at.service()).state).toBe('mapped');
  });

  test('takes another port of the router when the owner names one, and gives the first back', async () => {
    await at.set({ mapping, external_port: 40_443 });
    expect(family4(await at.service())?.ports).toMatchObject([
      { internal: home.port, external: 40_443 },
    ]);
    expect(await at.reaches(40_443)).toBe(true);
    expect(await at.reaches(home.port)).toBe(false);
  });

  test('turned off, it takes back what it asked for', async () => {
    await at.set(undefined);
    expect((await at.service()).state).toBe('off');
    expect(await at.rules()).not.toMatch(/dnat ip to 192\.168\.77\.2/);
  });
});

test('auto takes PCP where there is all, and UPnP where there is nothing else; what the others said is told', async () => {
  const all = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
  await at.set({});
  expect(family4(await at.service())?.method).toBe('pcp');
  await at.set(undefined);
  await at.service();
  await all.stop();
  const upnp = await at.miniupnpd(['enable_natpmp=no', 'enable_upnp=yes']);
  await at.set({});
  const found = family4(await at.service());
  expect(found?.method).toBe('upnp');
  expect(found?.notes).toEqual([
    'PCP: the router does not answer',
    'NAT-PMP: the router does not answer',
  ]);
  await at.set(undefined);
  await at.service();
  await upnp.stop();
});

test('another way of asking leaves the port open: what is taken back is not what was just asked for', async () => {
  const server = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
  for (const mapping of ['pcp', 'upnp', 'natpmp', 'auto']) {
    await at.set({ mapping });
    expect((await at.service()).state, mapping).toBe('mapped');
    expect(await at.reaches(home.port), mapping).toBe(true);
  }
  await at.set(undefined);
  await at.service();
  expect(await at.rules()).not.toContain('dnat');
  await server.stop();
});

test('asks for the port in the IPv6 firewall of the router (PCP), and closes it when it is turned off', async () => {
  const server = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
  await at.set({ ipv6: true });
  const status = await at.service();
  const six = status.families.find(({ family }) => family === 6);
  expect(six, JSON.stringify(status)).toMatchObject({
    method: 'pcp',
    own: home.gateway6,
    ports: [{ internal: home.port, external: home.port }],
  });
  const before = await at.rules();
  await at.set(undefined);
  await at.service();
  const rules = (text: string) => text.split('\n').filter((one) => one.includes(String(home.port)));
  expect(rules(before).length).toBeGreaterThan(rules(await at.rules()).length);
  expect(rules(await at.rules())).toEqual([]);
  await server.stop();
});

test.each(['pcp', 'upnp'] satisfies Method[])(
  'a router that refuses (%s) is believed: nothing is mapped, and its reason is told',
  async (mapping) => {
    const server = await at.miniupnpd([
      'enable_natpmp=yes',
      'enable_upnp=yes',
      'deny 0-65535 0.0.0.0/0 0-65535',
    ]);
    await at.set({ mapping });
    const status = await at.service();
    expect(status).toMatchObject({
      state: 'refused',
      summary: expect.stringContaining('pi-gateway router guide'),
    });
    expect(family4(status)?.notes).toEqual([expect.stringMatching(/: (it|that port) /)]);
    expect(await at.rules()).not.toContain('dnat');
    await at.set(undefined);
    await at.service();
    await server.stop();
  },
);

test('a router that gives another port than the one it was asked for: clients have to know, and it is told', async () => {
  const server = await at.miniupnpd(['enable_natpmp=yes', `deny ${home.port} 0.0.0.0/0 0-65535`]);
  await at.set({ mapping: 'natpmp' });
  const found = family4(await at.service());
  expect(found?.ports).toMatchObject([{ internal: home.port, external: home.port + 1 }]);
  expect(found?.notes).toEqual([expect.stringContaining(`vpn.endpoint_port ${home.port + 1}`)]);
  expect(await at.reaches(home.port + 1)).toBe(true);
  await at.set(undefined);
  await at.service();
  expect(await at.rules()).not.toContain('dnat');
  await server.stop();
});

test('a router of an inner zone is asked for nothing, though it is the default one', async () => {
  const server = await at.miniupnpd(['enable_natpmp=yes', 'enable_upnp=yes']);
  await at.gateway.run('ip', ['link', 'set', 'eth0', 'down']);
  await at.gateway.run('ip', ['link', 'set', 'eth0', 'name', 'eth1']);
  await at.gateway.run('ip', ['link', 'set', 'eth1', 'up']);
  await at.gateway.run('ip', ['route', 'add', 'default', 'via', home.router]);
  await up(at.gateway);
  await at.set({});
  expect((await at.service()).state).toBe('offline');
  expect(server.text()).not.toContain('request received');
  await at.gateway.run('ip', ['link', 'set', 'eth1', 'down']);
  await at.gateway.run('ip', ['link', 'set', 'eth1', 'name', 'eth0']);
  await at.gateway.run('ip', ['link', 'set', 'eth0', 'up']);
  await at.gateway.run('ip', ['route', 'add', 'default', 'via', home.router]);
  await up(at.gateway);
  await at.set(undefined);
  await at.service();
  await server.stop();
});

describe('a router that means ill', () => {
  test.each([
    ['other host', /another one, 192\.168\.77\.66: refused/],
    ['loopback name', /another one, localhost: refused/],
    ['file address', /no address of HTTP/],
    ['credentials in it', /another one/],
    ['control elsewhere', /another one, 192\.168\.77\.66: refused/],
    ['base elsewhere', /another one, 127\.0\.0\.1: refused/],
    ['redirect', /status 302/],
    ['endless', /longer than any of its protocol/],
    ['entities of entities', /status 500/],
    ['many services', /does not speak it/],
    ['silent', /no answer within 5 s/],
    ['nonsense', /does not speak it/],
    ['an odd fault', /status 500/],
  ])('%s: is told, ends by itself, and leads nowhere', async (kind, note) => {
    const server = await at.hostile(kind);
    await at.set({ mapping: 'upnp' });
    const begun = performance.now();
    const status = await at.service();
    expect(performance.now() - begun).toBeLessThan(60_000);
    expect(status.state).toBe('refused');
    expect(family4(status)?.notes.join('\n')).toMatch(note);
    await server.stop();
    await at.set(undefined);
    await rm(join(at.root, 'state/state.json'), { force: true });
  });
});
