import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { noise } from '../testing.ts';
import { HistoryFile } from './file.ts';
import { mostTracks, Recorder } from './history.ts';

const start = Date.UTC(2026, 5, 1) / 1000;
const one = (value: number) => new Map([['cpu.used', value]]);

/** Records from `from` for so many seconds, every 10. */
function fill(
  recorder: Recorder,
  from: number,
  seconds: number,
  value: (time: number) => number = () => 1,
): void {
  for (let time = from; time < from + seconds; time += 10)
    recorder.record(time, one(value(time)), true);
}

describe('in memory', () => {
  test('an hour is there by 10 s, a day by minutes, a month by quarters of an hour', () => {
    const recorder = new Recorder();
    fill(recorder, start, 3 * 86_400, (time) => (time - start) / 3600);
    const end = start + 3 * 86_400 - 10;
    const hour = recorder.history('cpu.used', end, 3590);
    expect(hour).toMatchObject({ step: 10, start: end - 3580 });
    expect(hour?.values).toHaveLength(359);
    expect(hour?.values.at(-1)).toBeCloseTo((end - start) / 3600, 4);
    const day = recorder.history('cpu.used', end, 86_400 - 120);
    expect(day?.step).toBe(60);
    // The average of a minute lies in its middle.
    expect(day?.values[0]).toBeCloseTo(((day?.start ?? 0) + 25 - start) / 3600, 4);
    const month = recorder.history('cpu.used', end, 30 * 86_400);
    expect(month?.step).toBe(900);
    expect(month?.values.filter((value) => value !== null)).toHaveLength(3 * 96 - 1);
    expect(recorder.history('nothing', end, 60)).toBeUndefined();
  });

  test('what was not measured is null, not the last value', () => {
    const recorder = new Recorder();
    fill(recorder, start, 60);
    fill(recorder, start + 120, 60);
    const { values = [] } = recorder.history('cpu.used', start + 170, 170) ?? {};
    expect(values.slice(0, 5)).toEqual([1, 1, 1, 1, 1]);
    expect(values.slice(5, 11)).toEqual([null, null, null, null, null, null]);
    expect(values.slice(11)).toEqual([1, 1, 1, 1, 1, 1]);
  });

  test('who looks every half a minute is shown minutes, and not holes', () => {
    const recorder = new Recorder();
    recorder.pace = 30;
    for (let time = start; time < start + 3600; time += 30) recorder.record(time, one(1), true);
    const history = recorder.history('cpu.used', start + 3590, 3000);
    expect(history?.step).toBe(60);
    expect(history?.values).not.toContain(null);
  });

  test('a Pi that starts with an old time leaves the history alone until its clock is right', () => {
    const recorder = new Recorder();
    fill(recorder, start, 7200);
    expect(recorder.record(start - 86_400, one(9), false)).toBe(false);
    expect(recorder.record(start + 7300, one(2), true)).toBe(true);
    expect(recorder.history('cpu.used', start + 7300, 7200)?.values).toContain(1);
  });

  test('what a clock that was ahead has recorded is forgotten once the time is right', () => {
    const recorder = new Recorder();
    fill(recorder, start, 3600);
    fill(recorder, start + 50 * 86_400, 3600, () => 7);
    expect(recorder.record(start + 3600, one(2), true)).toBe(true);
    const { values = [] } = recorder.history('cpu.used', start + 3600, 3000) ?? {};
    expect(values).not.toContain(7);
    expect(values.at(-1)).toBe(2);
  });

  test('a clock that is set back by a moment neither loses nor doubles anything', () => {
    const recorder = new Recorder();
    fill(recorder, start, 600);
    expect(recorder.record(start + 560, one(5), true)).toBe(false);
    expect(recorder.record(start + 600, one(3), true)).toBe(true);
    expect(recorder.history('cpu.used', start + 600, 590)?.values).not.toContain(null);
  });

  test('series come and go without taking more memory than there is for them', () => {
    const recorder = new Recorder();
    for (let round = 0; round < 5000; round += 1) {
      const values = new Map([
        ['cpu.used', 1],
        [`vpn.received{client-${round}}`, round],
      ]);
      recorder.record(start + round * 60, values, true);
      expect(recorder.names().length).toBeLessThanOrEqual(mostTracks);
    }
    // Who is there stays, and the newest of the others.
    expect(recorder.names()).toContain('cpu.used');
    expect(recorder.names()).toContain('vpn.received{client-4999}');
    expect(recorder.names()).not.toContain('vpn.received{client-1}');
  });

  test('all of it takes less than 6 MB', () => {
    const before = process.memoryUsage().arrayBuffers;
    const recorder = new Recorder();
    const names = Array.from({ length: 1000 }, (_, index) => `vpn.sent{c${index}}`);
    recorder.record(start, new Map(names.map((name) => [name, 1])), true);
    expect(recorder.names()).toHaveLength(mostTracks);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(6e6);
  });
});

describe('on the card', () => {
  let folder = '';
  let path = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-history-'));
    path = join(folder, 'history.bin');
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function load(): Promise<{
    recorder: Recorder;
    file: HistoryFile;
    said: string | undefined;
  }> {
    const recorder = new Recorder();
    const file = new HistoryFile(path, recorder);
    return { recorder, file, said: await file.load() };
  }

  /** Values of the last day, and of the last 30, at a time. */
  const shown = (recorder: Recorder, time: number) => [
    recorder.history('cpu.used', time, 86_400 - 120),
    recorder.history('cpu.used', time, 30 * 86_400),
  ];

  test('what was saved is there after a restart: written anew, and appended', async () => {
    const first = await load();
    expect(first.said).toBeUndefined();
    fill(first.recorder, start, 86_400, (time) => time % 1000);
    await first.file.save();
    for (let part = 0; part < 6; part += 1) {
      fill(first.recorder, start + 86_400 + part * 600, 600, (time) => time % 777);
      await first.file.save();
    }
    const end = start + 86_400 + 3600;
    first.recorder.finishMinute();
    await first.file.save();
    const second = await load();
    expect(second.said).toBeUndefined();
    // To the minute; the quarter under way is not whole in either.
    expect(shown(second.recorder, end)).toEqual(shown(first.recorder, end));
    // And it goes on.
    fill(second.recorder, end + 60, 1800);
    await second.file.save();
    const third = await load();
    expect(third.recorder.history('cpu.used', end + 1800, 1200)?.values).toContain(1);
    expect(
      third.recorder.history('cpu.used', end + 1800, 86_400 - 200)?.values.length,
    ).toBeGreaterThan(1300);
  });

  test('of an hour after a restart, minutes are shown rather than a hole', async () => {
    const first = await load();
    fill(first.recorder, start, 7200);
    await first.file.save();
    const { recorder } = await load();
    recorder.record(start + 7200, one(1), true);
    const history = recorder.history('cpu.used', start + 7200, 3500);
    expect(history?.step).toBe(60);
    expect(history?.values.filter((value) => value === 1).length).toBeGreaterThan(50);
  });

  test('a power cut at any byte of a write costs that write and no more', async () => {
    const { recorder, file } = await load();
    fill(recorder, start, 3600);
    await file.save();
    const whole = (await stat(path)).size;
    const before = shown((await load()).recorder, start + 3600);
    fill(recorder, start + 3600, 600, () => 5);
    await file.save();
    const torn = (await stat(path)).size;
    const all = await readFile(path);
    for (let size = whole; size <= torn; size += 7) {
      await writeFile(path, all.subarray(0, size));
      const { recorder: after, said, file: next } = await load();
      if (size === whole) expect(said).toBeUndefined();
      else if (size < torn) expect(said).toContain('damaged');
      const { values = [] } = after.history('cpu.used', start + 3600, 3400) ?? {};
      expect(values).toEqual(before[0]?.values.slice(-values.length));
      // What is saved after that can be read again.
      fill(after, start + 4300, 120, () => 6);
      await next.save();
      const again = await load();
      expect(again.said).toBeUndefined();
      expect(again.recorder.history('cpu.used', start + 4420, 4400)?.values).toContain(6);
      if (size > whole + 70) break;
    }
  });

  test('a damaged byte anywhere is found, said, and costs what comes after it', async () => {
    const { recorder, file } = await load();
    fill(recorder, start, 3600);
    await file.save();
    fill(recorder, start + 3600, 600);
    await file.save();
    const good = await readFile(path);
    for (let at = 0; at < good.length; at += 13) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] ?? 0) ^ 0x41;
      await writeFile(path, bad);
      const { said } = await load();
      expect(said, `byte ${at}`).toMatch(/damaged|no history/);
    }
  });

  test('another file, or one of another version, is no history: it begins anew and says so', async () => {
    for (const content of ['', 'PGHIST9\nxxxx', 'hello', '\0'.repeat(5000)]) {
      await writeFile(path, content);
      const { recorder, file, said } = await load();
      expect(said, JSON.stringify(content)).toContain('begins anew');
      fill(recorder, start, 600);
      await file.save();
      expect((await load()).said).toBeUndefined();
    }
    await truncate(path, 20_000_000);
    expect((await load()).said).toContain('too long');
  });

  test('a file that was taken away is written whole again', async () => {
    const { recorder, file } = await load();
    fill(recorder, start, 600);
    await file.save();
    await rm(path);
    fill(recorder, start + 600, 600);
    await expect(file.save()).rejects.toThrow('ENOENT');
    await file.save();
    const again = await load();
    expect(again.said).toBeUndefined();
    expect(again.recorder.history('cpu.used', start + 1140, 1080)?.values).not.toContain(null);
  });

  test('junk that is appended does not stop what is saved next', async () => {
    const { recorder, file } = await load();
    fill(recorder, start, 600);
    await file.save();
    await appendFile(path, 'junk that no one wrote');
    const second = await load();
    expect(second.said).toContain('The last 22 bytes');
    fill(second.recorder, start + 660, 600);
    await second.file.save();
    expect((await load()).said).toBeUndefined();
  });

  test('nothing new is not written', async () => {
    const { recorder, file } = await load();
    await file.save();
    fill(recorder, start, 600);
    await file.save();
    const { times } = file.written;
    await file.save();
    expect(file.written.times).toBe(times);
    expect(times).toBe(1);
  });

  test('70 series and 20 clients cost less than 3 MB a day, in 144 writes', async () => {
    const { recorder, file } = await load();
    const random = noise(1);
    const steady = Array.from({ length: 70 }, (_, index) => `network.sent{eth${index}}`);
    const clients = Array.from({ length: 20 }, (_, index) => `vpn.sent{c${index}}`);
    const days = 4;
    for (let minute = 0; minute < days * 1440; minute += 1) {
      const values = new Map([
        ...steady.map((name) => [name, random()] as const),
        ...clients.map((name) => [name, 0] as const),
      ]);
      recorder.record(start + minute * 60, values, true);
      if (minute % 10 === 9) await file.save();
    }
    const bytes = file.written.bytes / days;
    const times = file.written.times / days;
    // An append also costs its file system: a block that is half full, the inode, and the journal's record
    // of both with its begin and end (ext4 journal.rst): about 6 blocks of 4 KB.
    const card = bytes + times * 6 * 4096;
    console.log(
      `history: ${(bytes / 1e6).toFixed(2)} MB a day in ${times} writes, about ${(card / 1e6).toFixed(1)} MB on the card; file ${((await stat(path)).size / 1e6).toFixed(2)} MB`,
    );
    expect(times).toBeLessThanOrEqual(145);
    expect(bytes).toBeLessThan(3e6);
    expect((await stat(path)).size).toBeLessThan(5e6);
  }, 30_000);
});
