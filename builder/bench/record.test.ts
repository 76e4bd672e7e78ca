import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compareRuns, ratiosOf } from '../../ci/performance.ts';
import { judge } from './measure.ts';
import { addToRecord, type BenchmarkRecord, recordName, recordText } from './record.ts';

const measured = (ours: number, limit: number) =>
  judge({
    what: 'a build',
    unit: 's',
    ours: [ours],
    baseline: { what: 'cp', values: [2] },
    limit: { ofRatio: limit },
  });
const record = (measures: BenchmarkRecord['measures']): BenchmarkRecord => ({
  date: '2026-11-26T22:30:00.000Z',
  machine: { architecture: 'x64', cores: 2, load: 0.5 },
  measures,
});

test('items that run one by one make one record, which the performance comparison reads', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-record-'));
  try {
    const path = join(folder, recordName('2026-11-26T22:30:00.000Z'));
    expect(path).toMatch(/2026-11-26T2230Z\.json$/);
    await addToRecord(path, record({ overlay: measured(4, 3) }));
    await addToRecord(path, { ...record({ cold: measured(1, 0.4) }), date: 'later' });
    const kept = JSON.parse(await readFile(path, 'utf8'));
    expect(kept.date).toBe('2026-11-26T22:30:00.000Z');
    expect(ratiosOf(kept)).toEqual({ 'measures.cold': 0.5, 'measures.overlay': 2 });
    const slower = ratiosOf(record({ cold: measured(2, 0.4), overlay: measured(4, 3) }));
    expect(compareRuns(slower, [ratiosOf(kept)]).filter((one) => one.regressed)).toMatchObject([
      { measure: 'measures.cold' },
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('the table says of each limit whether it is met', () => {
  const text = recordText(record({ overlay: measured(4, 3), cold: measured(1, 0.4) }));
  expect(text).toMatch(/overlay +4\.00 s +2\.00 s +2\.00 +ratio 3: met +cp/);
  expect(text).toMatch(/cold +1\.00 s +2\.00 s +0\.50 +ratio 0\.4: NOT MET/);
});
