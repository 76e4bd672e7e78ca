import { expect, test } from 'vitest';
import { Hints } from './hints.ts';
import { Recorder } from './history/history.ts';
import { noise } from './testing.ts';

/** A Monday at 00:00, by the local time that habits go by. */
const monday = new Date(2026, 0, 5).getTime() / 1000;
const quarter = 900;
const week = 7 * 96;

type Habits = Record<string, (slot: number) => number>;

/** Lives through so many 15 minutes; @returns each hint, as it was said. */
function live(
  hints: Hints,
  recorder: Recorder,
  from: number,
  slots: number,
  habits: Habits,
): string[] {
  const said: string[] = [];
  recorder.onQuarter = (slot) => {
    hints.take(recorder, slot);
    for (const { text } of hints.hints()) if (text !== '') said.push(text);
  };
  for (let slot = from; slot < from + slots; slot += 1) {
    const values = new Map(Object.entries(habits).map(([name, at]) => [name, at(slot)]));
    recorder.record(monday + slot * quarter, values, true);
  }
  return said;
}

const daily = (slot: number) =>
  Math.max(0, Math.sin(((slot % 96) / 96) * 2 * Math.PI - Math.PI / 2));

test('plain noise gives at most one hint per series in ten years', () => {
  // Half a year of 20 series.
  let values = 0;
  const said: string[] = [];
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = noise(seed);
    const habits: Habits =
      seed % 2 === 0
        ? { 'cpu.used': (slot) => 30 + 40 * daily(slot) + 5 * random() }
        : {
            'network.received{eth0}': (slot) =>
              1e6 * (0.1 + daily(slot)) * Math.exp(0.5 * random()),
          };
    values += 26 * week;
    said.push(...live(new Hints(), new Recorder(), 0, 26 * week, habits));
  }
  expect(values).toBeGreaterThan(340_000);
  expect(said).toEqual([]);
}, 30_000);

test('three times the usual traffic is said after half an hour, with what is usual', () => {
  const hints = new Hints();
  const recorder = new Recorder();
  const random = noise(42);
  const usual = (slot: number) => 1e6 * (0.2 + daily(slot)) * Math.exp(0.15 * random());
  const name = 'network.received{eth0}';
  expect(live(hints, recorder, 0, 3 * week, { [name]: usual })).toEqual([]);
  const [first] = live(hints, recorder, 3 * week, 1, { [name]: usual });
  expect(first).toBeUndefined();
  // Monday at noon.
  live(hints, recorder, 3 * week + 1, 47, { [name]: usual });
  const said = live(hints, recorder, 3 * week + 48, 6, { [name]: (slot) => 3.6 * usual(slot) });
  expect(said[0]).toMatch(
    /^Received \(eth0\): [3-6](\.\d+)? MB\/s, [345] times the usual on Mondays at 12 h \(about 1\.\d+ MB\/s\)$/,
  );
  // And it is over when it is over.
  live(hints, recorder, 3 * week + 54, 3, { [name]: usual });
  expect(hints.hints()).toEqual([{ series: name, text: '' }]);
});

test('the same at another hour is no news: it is usual then', () => {
  const hints = new Hints();
  const recorder = new Recorder();
  const random = noise(5);
  // A backup each Saturday night.
  const habit = (slot: number) => {
    const backup = slot % week >= 5 * 96 + 8 && slot % week < 5 * 96 + 16;
    return (backup ? 8e6 : 1e5) * Math.exp(0.2 * random());
  };
  expect(live(hints, recorder, 0, 6 * week, { 'network.sent{eth0}': habit })).toEqual([]);
  const night = 6 * week + 2 * 96 + 8;
  live(hints, recorder, 6 * week, 2 * 96 + 8, { 'network.sent{eth0}': habit });
  const said = live(hints, recorder, night, 4, { 'network.sent{eth0}': () => 8e6 });
  expect(said[0]).toContain('on Wednesdays at 02 h');
});

test('nothing is said in the first two weeks, whatever happens', () => {
  const random = noise(9);
  const said = live(new Hints(), new Recorder(), 0, 2 * week, {
    'cpu.used': (slot) => (slot > week && slot % 50 < 4 ? 100 : 5 + random()),
  });
  expect(said).toEqual([]);
});

test('an idle line that carries a little is no news', () => {
  const hints = new Hints();
  const recorder = new Recorder();
  live(hints, recorder, 0, 3 * week, { 'network.sent{eth0}': () => 0 });
  expect(live(hints, recorder, 3 * week, 8, { 'network.sent{eth0}': () => 30_000 })).toEqual([]);
  expect(live(hints, recorder, 3 * week + 8, 8, { 'network.sent{eth0}': () => 5e6 })[0]).toContain(
    'more than usual',
  );
});

test('after a restart all is known again from the history, and nothing is said twice', () => {
  const recorder = new Recorder();
  const random = noise(11);
  live(new Hints(), recorder, 0, 4 * week, { 'cpu.used': () => 10 + random() });
  const hints = new Hints();
  hints.learn(recorder);
  expect(hints.hints()).toEqual([]);
  const said = live(hints, recorder, 4 * week, 4, { 'cpu.used': () => 90 });
  expect(said[0]).toMatch(
    /^Processor in use, all cores together: 90 %, more than usual on Mondays/,
  );
});

test('a new habit is learnt in some weeks', () => {
  const hints = new Hints();
  const recorder = new Recorder();
  const random = noise(13);
  live(hints, recorder, 0, 4 * week, { 'memory.used': () => 30 + random() });
  const before = live(hints, recorder, 4 * week, week, { 'memory.used': () => 60 + random() });
  expect(before.length).toBeGreaterThan(20);
  live(hints, recorder, 5 * week, 3 * week, { 'memory.used': () => 60 + random() });
  expect(live(hints, recorder, 8 * week, week, { 'memory.used': () => 60 + random() })).toEqual([]);
});

test('what comes and goes is learnt in bounded memory', () => {
  const hints = new Hints();
  const recorder = new Recorder();
  for (let slot = 0; slot < 400; slot += 1)
    live(hints, recorder, slot, 1, { [`network.sent{eth${slot}}`]: () => 1, 'cpu.used': () => 1 });
  hints.learn(recorder);
  expect(recorder.names().length).toBeLessThanOrEqual(256);
  // Nothing is judged before two weeks, so nothing can be said of any.
  expect(hints.hints()).toEqual([]);
});
