import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AlertEvent } from './engine.ts';
import {
  again,
  backOff,
  enqueue,
  form,
  freshQueue,
  hurry,
  longestQueue,
  longestWait,
  nextDue,
  type Outcome,
  type Pace,
  type Queue,
  settle,
} from './queue.ts';

const now = Date.UTC(2026, 0, 2, 3, 4, 5);
const minute = 60_000;

const event = (n: number, more: Partial<AlertEvent> = {}): AlertEvent => ({
  kind: 'fired',
  alert: `a${n}`,
  source: `check:${n}`,
  severity: 'warning',
  text: `check ${n} has failed`,
  firedAt: now,
  at: now,
  ...more,
});

const day: Pace = { group: 5000, quiet: false, passes: 'critical', wasQuiet: () => false };
const night: Pace = { ...day, quiet: true, wasQuiet: () => true };
const failed: Outcome = { kind: 'retry', reason: 'no answer' };
const add = (queue: Queue, ...events: AlertEvent[]) => enqueue(queue, events).queue;

describe('a message', () => {
  test('is of all that arises within a few seconds', () => {
    const queue = add(freshQueue(), event(1), event(2, { at: now + 4000 }));
    expect(form(queue, now + 4999, day, () => 'm1').message).toBeUndefined();
    expect(nextDue(queue, now, day)).toBe(now + 5000);
    const formed = form(queue, now + 5000, day, () => 'm1');
    expect(formed.message).toMatchObject({ id: 'm1', events: [{ alert: 'a1' }, { alert: 'a2' }] });
    expect(formed.gathering).toEqual([]);
  });

  test('does not change while it has not arrived; what comes meanwhile is one more', () => {
    let queue = form(add(freshQueue(), event(1)), now + 5000, day, () => 'm1');
    for (let n = 2; n < 40; n++) {
      queue = settle(queue, failed, now, 0).queue;
      queue = form(add(queue, event(n)), now + 60 * minute, day, () => 'no');
    }
    expect(queue.message).toMatchObject({ id: 'm1', events: [{ alert: 'a1' }] });
    const { queue: after } = settle(queue, { kind: 'delivered', answer: 'ok' }, now, 0);
    const second = form(after, now + 60 * minute, day, () => 'm2');
    expect(second.message?.events).toHaveLength(38);
    expect(second.gathering).toEqual([]);
  });

  test('is formed though the clock was set back', () => {
    const queue = add(freshQueue(), event(1, { at: now + 365 * 24 * 60 * minute }));
    expect(form(queue, now, day, () => 'm1').message).toBeDefined();
  });
});

describe('quiet hours', () => {
  test('hold back all but what is critical, and sum it up at their end', () => {
    const queue = add(freshQueue(), event(1), event(2, { severity: 'critical' }), event(3));
    const during = form(queue, now + 5000, night, () => 'm1');
    expect(during.message).toMatchObject({ events: [{ alert: 'a2' }], summary: false });
    const after = form(
      { ...during, message: undefined },
      now + 8 * 60 * minute,
      { ...day, wasQuiet: (at) => at < now + 60 * minute },
      () => 'm2',
    );
    expect(after.message).toMatchObject({
      events: [{ alert: 'a1' }, { alert: 'a3' }],
      summary: true,
    });
  });

  test('hold critical ones too, if the owner wants', () => {
    const queue = add(freshQueue(), event(2, { severity: 'critical' }));
    const pace = { ...night, passes: undefined };
    expect(form(queue, now + 5000, pace, () => 'm1').message).toBeUndefined();
    expect(nextDue(queue, now, pace)).toBe(now + minute / 2);
  });
});

describe('a failure', () => {
  const sent = form(add(freshQueue(), event(1)), now + 5000, day, () => 'm1');

  test('is tried again after 30 s, then twice as long each time, up to an hour', () => {
    expect([1, 2, 3, 8, 9, 1000].map((n) => backOff(n) / minute)).toEqual([0.5, 1, 2, 60, 60, 60]);
    expect(settle(sent, failed, now, 0).queue.nextAt).toBe(now + minute / 2);
    expect(settle(sent, failed, now, 1).queue.nextAt).toBe(now + (minute / 2) * 1.25);
  });

  test('leaves the server alone for as long as it wants, at most a day', () => {
    const patience = (seconds: number) =>
      settle(sent, { kind: 'retry', reason: 'busy', after: seconds }, now, 0).queue.nextAt - now;
    expect(patience(600)).toBe(10 * minute);
    expect(patience(1)).toBe(minute / 2);
    expect(patience(1e9)).toBe(24 * 60 * minute);
  });

  test('for 3 days loses the message, by the time it waited and not by the clock', () => {
    let queue = sent;
    let waited = 0;
    for (let tries = 0; tries < 10_000; tries++) {
      const ended = settle(queue, failed, now, 0.5);
      waited += ended.queue.nextAt - now;
      queue = ended.queue;
      if (ended.outcome === 'failed') break;
    }
    expect(queue.message).toBeUndefined();
    expect(waited).toBeGreaterThan(longestWait);
    expect(waited).toBeLessThan(longestWait + 2 * 60 * minute);
  });

  test('of the message alone loses it, and the next one is sent', () => {
    const ended = settle(sent, { kind: 'refused', reason: '413' }, now, 0);
    expect(ended).toMatchObject({ outcome: 'failed', queue: { nextAt: 0, broken: true } });
  });

  test('that only the owner can mend keeps the message, and asks seldom', () => {
    const ended = settle(sent, { kind: 'stopped', reason: '401' }, now, 0);
    expect(ended.outcome).toBeUndefined();
    expect(ended.queue).toMatchObject({ broken: true, message: { id: 'm1' } });
    expect(ended.queue.nextAt).toBe(now + 6 * 60 * minute);
  });

  test('is tried again soon when something is well again, unless the server said when', () => {
    let queue = sent;
    for (let tries = 0; tries < 9; tries++) queue = settle(queue, failed, now, 0).queue;
    expect(hurry(queue, now).nextAt).toBe(now + 5000);
    const asked = settle(sent, { kind: 'retry', reason: 'busy', after: 600 }, now, 0).queue;
    expect(hurry(asked, now).nextAt).toBe(now + 10 * minute);
  });

  test('under a clock that was ahead does not silence the channel', () => {
    const ahead = { ...sent, nextAt: now + 1e12 };
    expect(again({ ...ahead, patient: true }, now).nextAt).toBe(now + 30 * 60 * minute);
    expect(again(ahead, now).nextAt).toBe(0);
  });
});

describe('too much', () => {
  test('drops the least severe first, of these the oldest, and says how much', () => {
    const events = Array.from({ length: longestQueue + 50 }, (_, n) =>
      event(n, { severity: n % 3 === 0 ? 'info' : n % 3 === 1 ? 'warning' : 'critical' }),
    );
    const { queue, dropped } = enqueue(freshQueue(), events);
    expect(queue.gathering).toHaveLength(longestQueue);
    expect(dropped).toHaveLength(50);
    expect(dropped.map((one) => one.alert)).toEqual(
      Array.from({ length: 50 }, (_, n) => `a${n * 3}`),
    );
    expect(form(queue, now + 5000, day, () => 'm1').message?.dropped).toBe(50);
  });

  test('never grows, and every event is sent, waits, or is counted as dropped', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 120 }) }) },
      fc.constant({ outcome: 'ok' as const }),
      fc.constant({ outcome: 'retry' as const }),
      fc.constant({ outcome: 'refused' as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let queue = freshQueue();
        let [added, gone, at, id] = [0, 0, now, 0];
        const ids = new Set<string>();
        for (const one of steps) {
          at += minute;
          if ('add' in one) {
            const events = Array.from({ length: one.add }, () => event(++added, { at }));
            const result = enqueue(queue, events);
            queue = result.queue;
            gone += result.dropped.length;
          } else if (queue.message) {
            const { message } = queue;
            ids.add(message.id);
            const outcome: Outcome =
              one.outcome === 'ok'
                ? { kind: 'delivered', answer: '' }
                : { kind: one.outcome, reason: '' };
            const ended = settle(queue, outcome, at, 0.5);
            queue = ended.queue;
            if (ended.outcome) gone += message.events.length;
          }
          queue = form(queue, at + minute, day, () => `m${++id}`);
          const here = queue.gathering.length + (queue.message?.events.length ?? 0);
          expect(here + gone).toBe(added);
          expect(here).toBeLessThanOrEqual(2 * longestQueue);
        }
      }),
      { numRuns: 200 },
    );
  });
});
