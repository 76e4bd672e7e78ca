import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Container, makeContainer } from '../../builder/lab/container.ts';
import { lab } from '../../builder/lab/harness.ts';
import { gateway6, hostAddress, outside } from '../../builder/lab/lab.ts';
import type { Running } from '../../builder/lab/namespace.ts';
import { listen, type Question, type Reply, send } from '../../builder/lab/traffic.ts';

const { facts, wan, lan, guest, dmz, ssh } = lab();
const hosts = { wan, lan, guest, dmz };
const places = ['wan', 'lan', 'guest', 'dmz'] as const;
type Place = (typeof places)[number];
const port = 7002;

type Row = { from: string; to: string; passes: boolean };
let table: Row[] = [];
let container: Container;
let servers: Running[] = [];

const addresses = (place: Place) =>
  place === 'wan'
    ? { v4: outside.server4, v6: outside.server6 }
    : hostAddress(facts.zones[place], 10);

beforeAll(async () => {
  table = (JSON.parse(await ssh('pi-gateway firewall zones --json')) as { table: Row[] }).table;
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

function passes(from: string, to: string): boolean {
  const row = table.find((one) => one.from === from && one.to === to);
  if (!row) throw new Error(`no cell ${from} → ${to}`);
  return row.passes;
}

/** Cells in which a packet did something else than the table says. */
async function wrongCells(
  cells: readonly { from: string; to: string; address: string }[],
  ask: (from: string, question: Question) => Promise<Reply>,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const { from, to, address } of cells)
    for (const protocol of ['tcp', 'udp'] as const) {
      const expected = passes(from, to);
      const reply = await ask(from, { protocol, to: address, port, wait: expected ? 20 : 3 });
      if ((reply.kind === 'answer') !== expected)
        wrong.push(`${from} → ${to} ${protocol} ${address}: ${JSON.stringify(reply)}`);
    }
  return wrong;
}

test('who reaches a container is as the table says: not the wan, not guests', async () => {
  const cells = places.flatMap((from) =>
    Object.values(container.addresses).map((address) => ({ from, to: 'containers', address })),
  );
  expect(await wrongCells(cells, (from, question) => send(hosts[from as Place], question))).toEqual(
    [],
  );
});

test('whom a container reaches is as the table says: the internet, and nobody within', async () => {
  const cells = places.flatMap((to) =>
    Object.values(addresses(to)).map((address) => ({ from: 'containers', to, address })),
  );
  expect(await wrongCells(cells, (_, question) => container.send(question))).toEqual([]);
});
