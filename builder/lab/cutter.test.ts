import { afterEach, beforeEach, expect, test } from 'vitest';
import { addClient, changeClient, listClients, rotateClient } from '../../gateway/vpn/clients.ts';
import { VpnDevice } from '../../gateway/vpn/testing.ts';
import type { DeviceState, Job } from './cut.ts';
import { cutterProgram, inconsistencies, outcomeOf } from './cutter.ts';

let vpn: VpnDevice;
beforeEach(async () => {
  vpn = await VpnDevice.make();
});
afterEach(() => vpn.remove());

/** As the program on the device would tell it. */
async function state(more: Partial<DeviceState> = {}): Promise<DeviceState> {
  const read = async (folder: string, names: readonly string[]) =>
    Object.fromEntries(
      await Promise.all(
        names.map(async (name) => [name, await vpn.device.read(`${folder}/${name}`)] as const),
      ),
    );
  const clients = listClients(vpn.system);
  const names = clients.flatMap(({ name, rotation }) => [
    `${name}.conf`,
    ...(rotation ? [`${name}.next`] : []),
  ]);
  const sets: Record<string, string[]> = {};
  for (const [, name = '', elements] of (await vpn.sets()).matchAll(
    /^(?:flush set|add element) inet gateway (\S+)(?: \{ (.*) \})?$/gm,
  ))
    sets[name] = elements?.split(', ') ?? [];
  return {
    peers: await read('etc/wireguard/peers.d', names),
    held: await read('etc/wireguard/clients', names),
    interface: (await vpn.interface()).map((line) => {
      const [key = '', psk = '', allowed = ''] = line.split(' ');
      return { key, psk, allowed: allowed === '(none)' ? [] : allowed.split(',') };
    }),
    sets,
    settings: null,
    forwards: null,
    destinations: 'table inet gateway {\n\tchain device_destinations {\n\t}\n}\n',
    apt: null,
    halfway: [],
    temporaries: [],
    ...more,
  };
}

test('what wireguard-peer makes of the files is consistent, and what differs from them is told', async () => {
  await addClient(vpn.system, { name: 'phone' });
  await addClient(vpn.system, { name: 'tablet', zones: ['lan'] });
  await rotateClient(vpn.system, 'tablet', {});
  const good = await state();
  expect(good.interface).toHaveLength(3);
  expect(inconsistencies(good)).toEqual([]);
  const [first, ...others] = good.interface;
  for (const bad of [
    { ...good, interface: others },
    { ...good, interface: [...good.interface, { key: 'x', psk: '(none)', allowed: [] }] },
    { ...good, interface: [{ key: first?.key ?? '', psk: 'other', allowed: [] }, ...others] },
    { ...good, sets: { ...good.sets, vpn_wan4: [...(good.sets.vpn_wan4 ?? []), '10.66.0.9'] } },
    { ...good, sets: { ...good.sets, vpn_lan6: [] } },
    { ...good, sets: {} },
    { ...good, peers: { ...good.peers, 'phone.conf': '[Peer]\nPublicK' } },
    { ...good, held: { ...good.held, 'phone.conf': good.held['tablet.conf'] ?? '' } },
    { ...good, settings: 'firewall: {forwards: [{tcp: 1, to: 192.168.10.9}]}' },
    { ...good, settings: "updates:\n  reboot: '04:30'\n" },
    { ...good, halfway: ['/run/pi-gateway/vpn/changing'] },
  ])
    expect(inconsistencies(bad)).not.toEqual([]);
  expect(
    inconsistencies({
      ...good,
      settings:
        "updates:\n  reboot: '04:30'\nfirewall:\n  forwards:\n    - {tcp: 1, to: 192.168.10.9}\n",
      apt: 'Unattended-Upgrade::Automatic-Reboot-Time "04:30";\n',
      forwards: 'iifname eth0 tcp dport 1 dnat ip to 192.168.10.9:1 comment "x"\n',
      destinations: 'iifname "eth0" tcp dport 1 dnat ip to 192.168.10.9:1 comment "x"\n',
    }),
  ).toEqual([]);
});

test('old, new and what is neither are told apart', async () => {
  await addClient(vpn.system, { name: 'phone', zones: ['wan'] });
  const old = await state();
  const outcome = (job: Omit<Job, 'after'>, before: DeviceState, after: DeviceState) =>
    outcomeOf({ after: 1, ...job }, before, after).outcome;
  const zones = { kind: 'zones', name: 'phone', zones: ['lan', 'gateway'] } as const;
  expect(outcome(zones, old, old)).toBe('old');
  await changeClient(vpn.system, 'phone', { zones: ['lan', 'gateway'] });
  const zoned = await state();
  expect(outcome(zones, old, zoned)).toBe('new');
  expect(outcome({ ...zones, zones: ['dmz'] }, old, zoned)).toBe('between');
  expect(outcome({ kind: 'rotate', name: 'phone' }, old, zoned)).toBe('between');

  await addClient(vpn.system, { name: 'tablet' });
  const added = await state();
  const add = { kind: 'add', name: 'tablet' } as const;
  expect(outcome(add, zoned, zoned)).toBe('old');
  expect(outcome(add, zoned, added)).toBe('new');
  expect(outcome(zones, zoned, added)).toBe('between');
  const half = { ...added.peers, 'tablet.conf': (added.peers['tablet.conf'] ?? '').slice(0, 60) };
  expect(outcome(add, zoned, { ...added, peers: half })).toBe('between');

  await rotateClient(vpn.system, 'phone', {});
  const rotating = await state();
  expect(outcome({ kind: 'rotate', name: 'phone' }, added, rotating)).toBe('new');
  expect(outcome({ kind: 'cancel', name: 'phone' }, rotating, rotating)).toBe('old');
  expect(outcome({ kind: 'cancel', name: 'phone' }, rotating, added)).toBe('new');

  const set = { kind: 'config', text: '# two\n' } as const;
  expect(outcome(set, added, { ...added, settings: '# two\n' })).toBe('new');
  expect(outcome(set, added, added)).toBe('old');
  expect(outcome(set, added, { ...added, settings: '# t' })).toBe('between');
});

test('the program for the device is one file without packages', async () => {
  const text = await cutterProgram();
  const imports = [...text.matchAll(/from ?"([^"]+)"/g)].map(([, name = '']) => name);
  expect(imports.length).toBeGreaterThan(2);
  expect(imports.filter((name) => !name.startsWith('node:'))).toEqual([]);
});
