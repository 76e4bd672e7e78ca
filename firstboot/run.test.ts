import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Journal, parseJournal } from './journal.ts';
import { outcomeLines } from './report.ts';
import { folder, type Outcome, type Plan, runFirstBoot, stamp, takenOver } from './run.ts';
import { OwnerError, type Step } from './step.ts';
import { settings } from './steps/ready.ts';
import { deviceSystem, readIfThere, writeDurably } from './system.ts';
import { TestDevice } from './testing.ts';

let device: TestDevice;
beforeEach(async () => {
  device = await TestDevice.make();
});
afterEach(() => device.remove());

type Counted = Step & { applied: number };

function counting(name: string, more: { needs?: string[]; fail?: () => boolean } = {}): Counted {
  return {
    name,
    applied: 0,
    ...(more.needs ? { needs: more.needs } : {}),
    check: async (system) => (await readIfThere(join(system.root, `did-${name}`))) !== undefined,
    async apply(system) {
      this.applied += 1;
      if (more.fail?.()) throw new OwnerError('broken', 'mend it');
      await writeDurably(join(system.root, `did-${name}`), 'x');
    },
  };
}

const planOf = (prepare: Step[], finish: Step[] = []): Plan & { reports: Outcome[] } => {
  const reports: Outcome[] = [];
  return { prepare, finish, reports, report: async (_, outcome) => void reports.push(outcome) };
};
const there = (path: string) =>
  readIfThere(join(device.root, path)).then((text) => text !== undefined);

describe('the run of all steps', () => {
  test('goes on after a failed step, and comes back only to that one', async () => {
    let broken = true;
    const steps = [counting('a'), counting('b', { fail: () => broken }), counting('c')];
    const first = await runFirstBoot(device.system, planOf(steps));
    expect(first.failures).toEqual([{ step: 'b', message: 'broken', fix: 'mend it' }]);
    expect(await there(stamp)).toBe(false);
    broken = false;
    expect(await runFirstBoot(device.system, planOf(steps))).toEqual({ failures: [], waiting: [] });
    expect(steps.map((step) => step.applied)).toEqual([1, 2, 1]);
    expect(await there(stamp)).toBe(true);
  });

  test('a step waits for those that it needs, and is no failure of its own', async () => {
    const steps = [
      counting('a', { fail: () => true }),
      counting('b', { needs: ['a'] }),
      counting('c', { needs: ['b'] }),
      counting('d'),
    ];
    const outcome = await runFirstBoot(device.system, planOf(steps));
    expect(steps.map((step) => step.applied)).toEqual([1, 0, 0, 1]);
    expect(outcome.waiting).toEqual([
      { step: 'b', needs: 'a' },
      { step: 'c', needs: 'b' },
    ]);
    expect(outcomeLines(outcome)).toEqual([
      'Pi Gateway: first boot is not complete.',
      '- a: broken',
      '  What to do: mend it',
      '- waiting for a: b',
      '- waiting for b: c',
    ]);
  });

  test("a mistake in the owner's settings is told once, and steps without settings are done", async () => {
    await device.put('boot/firmware/gateway-device.yaml', 'hostnam: x\n');
    const own = counting('own');
    const outcome = await runFirstBoot(
      device.system,
      planOf([
        own,
        settings,
        counting('b', { needs: ['settings'] }),
        counting('c', { needs: ['settings'] }),
      ]),
    );
    expect(own.applied).toBe(1);
    const text = outcomeLines(outcome).join('\n');
    expect(text.match(/gateway-device\.yaml:/g)).toHaveLength(1);
    expect(text).toContain('- waiting for settings: b, c');
  });

  test('a step whose result does not hold has failed', async () => {
    const liar: Step = { name: 'liar', check: async () => false, apply: async () => undefined };
    const outcome = await runFirstBoot(device.system, planOf([liar]));
    expect(outcome.failures[0]?.message).toContain('does not hold');
  });

  test('a step that takes too long fails, and its program is killed', async () => {
    const real = deviceSystem(() => undefined);
    const pid = join(device.root, 'pid');
    const slow: Step = {
      name: 'slow',
      timeout: 500,
      check: async () => false,
      apply: async (system) => {
        // Deaf to SIGTERM, as programs that hang may be.
        await system.run('sh', ['-c', `trap '' TERM; echo $$ > ${pid}; while :; do :; done`]);
      },
    };
    const outcome = await runFirstBoot(
      { ...device.system, run: real.run },
      planOf([slow, counting('b')]),
    );
    expect(outcome.failures).toMatchObject([{ step: 'slow', message: 'took longer than 0.5 s' }]);
    expect(await there('did-b')).toBe(true);
    const child = Number(await readFile(pid, 'utf8'));
    await sleep(100);
    expect(() => process.kill(child, 0)).toThrow('ESRCH');
  });

  test('says each step before it begins, and keeps quiet about what is done', async () => {
    const steps = [counting('a'), counting('b')];
    await runFirstBoot(device.system, planOf(steps));
    expect(device.said).toEqual(['First boot: a', 'First boot: b']);
    await runFirstBoot(device.system, planOf(steps));
    expect(device.said).toHaveLength(2);
  });

  test('wipes nothing until everything else is done', async () => {
    let broken = true;
    const wipe = counting('wipe');
    const steps = [counting('a', { fail: () => broken })];
    await runFirstBoot(device.system, planOf(steps, [wipe]));
    expect(wipe.applied).toBe(0);
    expect(await there(takenOver)).toBe(false);
    broken = false;
    await runFirstBoot(device.system, planOf(steps, [wipe]));
    expect(wipe.applied).toBe(1);
  });

  test("once taken over, never looks at the owner's files again: they may be half wiped", async () => {
    await device.put('boot/firmware/gateway-device.yaml', '\0\0\0\0min:\n');
    await writeDurably(join(device.root, takenOver), 'x');
    const step = counting('a');
    const outcome = await runFirstBoot(device.system, planOf([settings, step], [counting('wipe')]));
    expect(outcome).toEqual({ failures: [], waiting: [] });
    expect(step.applied).toBe(0);
    expect(await there(stamp)).toBe(true);
  });

  test('is told before it is stamped: a cut between the two is told again', async () => {
    const plan = { ...planOf([counting('a')]), report: () => Promise.reject(new Error('no card')) };
    await expect(runFirstBoot(device.system, plan)).rejects.toThrow('no card');
    expect(await there(stamp)).toBe(false);
  });
});

describe('the journal', () => {
  const at = '2026-01-01T00:00:00.000Z';

  test('that is cut off, empty or of something else costs only its history', async () => {
    for (const text of ['', '[{"step":', 'null', '{}', '[1, "x"]', '[null]'])
      expect(parseJournal(text)).toEqual([]);
    const path = join(device.root, 'journal.json');
    await writeFile(path, '[{"st');
    const journal = new Journal(path);
    await journal.load();
    await journal.add({ step: 'a', state: 'done' });
    expect(parseJournal(await readFile(path, 'utf8'))).toMatchObject([
      { step: 'a', state: 'done' },
    ]);
  });

  test('closes what a power cut left open', async () => {
    const open = [{ step: 'a', state: 'started', at }];
    await writeDurably(join(device.root, folder, 'journal.json'), JSON.stringify(open));
    const step = counting('a');
    await writeDurably(join(device.root, 'did-a'), 'x');
    await runFirstBoot(device.system, planOf([step]));
    const entries = parseJournal(await device.read(`${folder}/journal.json`));
    expect(entries.map((entry) => entry.state)).toEqual(['started', 'done']);
    expect(step.applied).toBe(0);
  });

  test('of a device that waits for its owner for years stays small', async () => {
    for (let boot = 0; boot < 30; boot += 1) {
      const steps = Array.from({ length: 10 }, (_, i) => counting(`s${i}`, { fail: () => true }));
      await runFirstBoot(device.system, planOf(steps));
    }
    expect(parseJournal(await device.read(`${folder}/journal.json`))).toHaveLength(200);
  });

  test('reads anything without failing, and takes only entries for entries', () => {
    const entry = fc.record({
      step: fc.string(),
      state: fc.constantFrom('started', 'done', 'failed'),
      at: fc.string(),
    });
    const near = fc.array(
      fc.oneof(
        entry,
        fc.record({ step: fc.anything(), state: fc.anything(), at: fc.anything() }),
        fc.jsonValue(),
      ),
    );
    const isEntry = (value: unknown) => {
      const one = value as Record<string, unknown> | null;
      return (
        typeof one?.step === 'string' &&
        typeof one.at === 'string' &&
        ['started', 'done', 'failed'].includes(String(one.state)) &&
        (one.reason === undefined || typeof one.reason === 'string')
      );
    };
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      near.map((value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? 1 : v)) ?? ''),
      fc.tuple(fc.array(entry), fc.nat()).map(([all, cut]) => JSON.stringify(all).slice(0, cut)),
    );
    fc.assert(
      fc.property(text, (input) => parseJournal(input).every(isEntry)),
      { numRuns: 20_000 },
    );
    fc.assert(
      fc.property(fc.array(entry), (all) => {
        expect(parseJournal(JSON.stringify(all))).toEqual(all);
      }),
      { numRuns: 2_000 },
    );
  });
});
