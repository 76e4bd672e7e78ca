import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Container, makeContainer } from '../../builder/lab/container.ts';
import { lab } from '../../builder/lab/harness.ts';
import { gateway6, hostAddress, outside } from '../../builder/lab/lab.ts';
import type { Running } from '../../builder/lab/namespace.ts';
import { listen, send } from '../../builder/lab/traffic.ts';
import { readZoneTable, wrongCells, type ZoneTable } from '../../builder/lab/zone-cells.ts';

const { facts, wan, lan, guest, dmz, ssh } = lab();
const hosts = { wan, lan, guest, dmz };
const places = ['wan', 'lan', 'guest', 'dmz'] as const;
type Place = (typeof places)[number];
const port = 7002;

let table: ZoneTable;
let container: Container;
let servers: Running[] = [];

const addresses = (place: Place) =>
  place === 'wan'
    ? { v4: outside.server4, v6: outside.server6 }
    : hostAddress(facts.zones[place], 10);

beforeAll(async () => {
  table = await readZoneTable(ssh);
  container = await makeContainer(ssh, port);
  servers = await Promise.all(
    places.map((place) => listen(hosts[place], port, Object.values(addresses(place)))),
  );
  // A stranger who knows the way in.
  for (const [family, to, via] of [
    ['-4', container.addresses.v4, outside.gateway4],
    ['-6', container.addresses.v6, await gateway6(facts)],
  ] as const)
    await wan.run('ip', [family, 'route', 'replace', to, 'via', via]);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  for (const [family, to] of [
    ['-4', container.addresses.v4],
    ['-6', container.addresses.v6],
  ] as const)
    await wan.run('ip', [family, 'route', 'delete', to]);
  await container.remove();
});

test('who reaches a container is as the table says: not the wan, not guests', async () => {
  const cells = places.flatMap((from) =>
    Object.values(container.addresses).map((address) => ({ from, to: 'containers', address })),
  );
  expect(
    await wrongCells(table, cells, port, ({ from }, question) =>
      send(hosts[from as Place], question),
    ),
  ).toEqual([]);
});

test('whom a container reaches is as the table says: the internet, and nobody within', async () => {
  const cells = places.flatMap((to) =>
    Object.values(addresses(to)).map((address) => ({ from: 'containers', to, address })),
  );
  expect(await wrongCells(table, cells, port, (_, question) => container.send(question))).toEqual(
    [],
  );
});
