import type { Question, Reply } from './traffic.ts';

/** Who may reach whom, as the running device says: docs/zones.md. */
export type ZoneTable = { passes(from: string, to: string): boolean };

export async function readZoneTable(ssh: (command: string) => Promise<string>): Promise<ZoneTable> {
  type Row = { from: string; to: string; passes: boolean };
  const { table } = JSON.parse(await ssh('pi-gateway firewall zones --json')) as { table: Row[] };
  return {
    passes: (from, to) => {
      const row = table.find((one) => one.from === from && one.to === to);
      if (!row) throw new Error(`the zone table has no cell ${from} → ${to}`);
      return row.passes;
    },
  };
}

export type Cell = { from: string; to: string; address: string };

/** The cells in which a packet, TCP or UDP, did something else than the table says; sent one by one. */
export async function wrongCells(
  table: ZoneTable,
  cells: readonly Cell[],
  port: number,
  ask: (cell: Cell, question: Question) => Promise<Reply>,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const cell of cells)
    for (const protocol of ['tcp', 'udp'] as const) {
      const { from, to, address } = cell;
      const expected = table.passes(from, to);
      const reply = await ask(cell, { protocol, to: address, port, wait: expected ? 20 : 3 });
      if ((reply.kind === 'answer') !== expected)
        wrong.push(`${from} → ${to} ${protocol} ${address}: ${JSON.stringify(reply)}`);
    }
  return wrong;
}
