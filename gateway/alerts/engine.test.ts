import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Condition } from './condition.ts';
import { type AlertEvent, advance, type EngineState, freshEngine, type Rules } from './engine.ts';
import { condition } from './testing.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const begin = Date.UTC(2026, 0, 2, 3, 4, 5);

const rules: Rules = {
  settle: 15 * second,
  outlive: minute,
  flappingCount: 3,
  stable: 30 * minute,
  remind: 0,
};

/** The engine with a clock that a test moves. */
class Bench {
  state: EngineState = freshEngine('0123456789ab');
  now = begin;
  readonly rules: Rules;
  readonly told: AlertEvent[] = [];

  constructor(more: Partial<Rules> = {}) {
    this.rules = { ...rules, ...more };
  }

  /** One look. @returns what is told, as `kind source`. */
  look(...conditions: Condition[]): string[] {
    const { state, events } = advance(this.state, conditions, this.now, this.rules);
    this.state = state;
    this.told.push(...events);
    return events.map((event) => `${event.kind} ${event.source}`);
  }

  /** Looks every 5 s for a while. */
  during(milliseconds: number, ...conditions: Condition[]): string[] {
    const until = this.now + milliseconds;
    const told: string[] = [];
    while (this.now < until) {
      this.now += 5 * second;
      told.push(...this.look(...conditions));
    }
    return told;
  }
}

const on = (source: string, more?: Partial<Condition>) => condition(source, more);
const off = (source: string, more?: Partial<Condition>) =>
  condition(source, { active: false, ...more });

describe('an alert', () => {
  test('is told once when it begins and once when it is over', () => {
    const bench = new Bench();
    expect(bench.look(on('a'))).toEqual(['fired a']);
    expect(bench.during(10 * hour, on('a'))).toEqual([]);
    expect(bench.look(off('a'))).toEqual(['resolved a']);
    expect(bench.during(hour, off('a'))).toEqual([]);
    expect(bench.told.map((event) => event.alert)).toEqual(['0123456789ab-a1', '0123456789ab-a1']);
    expect(bench.told[1]?.text).toBe('a is well again');
  });

  test('that two checks report is one, of the worse severity', () => {
    const bench = new Bench();
    bench.look(on('a'), on('a', { severity: 'critical' }), off('a'));
    expect(bench.told).toMatchObject([{ kind: 'fired', severity: 'critical' }]);
  });

  test('is told anew when it becomes worse, and only then', () => {
    const bench = new Bench();
    bench.look(on('a', { severity: 'info' }));
    expect(bench.look(on('a', { severity: 'critical' }))).toEqual(['raised a']);
    expect(bench.look(on('a', { severity: 'info' }))).toEqual([]);
    expect(bench.look(on('a', { severity: 'critical' }))).toEqual([]);
    bench.look(off('a'));
    expect(new Set(bench.told.map((event) => event.alert)).size).toBe(1);
  });

  test('stays while monitoring says nothing of it, as after a start; in the end it is watched no more', () => {
    const bench = new Bench();
    bench.look(on('a'));
    expect(bench.during(10 * minute)).toEqual([]);
    expect(bench.look(on('a'))).toEqual([]);
    expect(bench.during(14 * minute)).toEqual([]);
    expect(bench.during(2 * minute)).toEqual(['resolved a']);
    expect(bench.told.at(-1)?.text).toContain('watched no more');
  });

  test('that is critical and lasts is told again, if the owner wants', () => {
    const bench = new Bench({ remind: 24 * hour });
    const both = [on('a', { severity: 'critical' }), on('b')];
    bench.look(...both);
    expect(bench.during(23 * hour, ...both)).toEqual([]);
    expect(bench.during(2 * hour, ...both)).toEqual(['reminder a']);
    expect(bench.during(24 * hour, ...both)).toEqual(['reminder a']);
  });
});

test('monitoring cannot know of what needs something that has failed: it is not over by that', () => {
  const bench = new Bench();
  const ddns = on('ddns', { needs: ['uplink'] });
  bench.during(minute, ddns, off('uplink'));
  expect(bench.told.map((event) => event.source)).toEqual(['ddns']);
  expect(bench.during(5 * hour, on('uplink'))).toEqual(['fired uplink']);
  // Nor if what it needs cannot be known either.
  expect(bench.during(5 * hour, on('uplink', { source: 'route' }))).toEqual([
    'fired route',
    'resolved uplink',
  ]);
  expect(bench.during(minute, off('uplink'), ddns)).toEqual([]);
  expect(bench.look(off('uplink'), off('ddns'))).toEqual(['resolved ddns']);
});

describe('what comes and goes', () => {
  /** On and off, a minute each. */
  const swing = (bench: Bench, times: number) =>
    Array.from({ length: times }, () => [
      ...bench.during(minute, on('a')),
      ...bench.during(minute, off('a')),
    ]).flat();

  test('is told as flapping after 3 times in an hour, and then not until it is stable', () => {
    const bench = new Bench();
    expect(swing(bench, 20)).toEqual([
      ...['fired a', 'resolved a', 'fired a', 'resolved a', 'fired a', 'resolved a'],
      'flapping a',
    ]);
    expect(bench.during(29 * minute, off('a'))).toEqual([]);
    expect(bench.during(2 * minute, off('a'))).toEqual(['resolved a']);
    // And it is no longer held against it.
    expect(bench.look(on('a'))).toEqual(['fired a']);
  });

  test('and then stays is told once more, and its end', () => {
    const bench = new Bench();
    swing(bench, 5);
    expect(bench.during(hour, on('a'))).toEqual(['steady a']);
    expect(bench.look(off('a'))).toEqual(['resolved a']);
  });

  test('seldom is no flapping', () => {
    const bench = new Bench();
    for (let day = 0; day < 10; day++) {
      expect(bench.during(minute, on('a'))).toEqual(['fired a']);
      expect(bench.during(25 * minute, off('a'))).toEqual(['resolved a']);
    }
  });
});

describe('what depends on something', () => {
  const uplink = (active = true) => condition('uplink', { active, severity: 'critical' });
  const ddns = (active = true) => condition('ddns', { active, needs: ['uplink'] });
  const mail = (active = true) => condition('mail', { active, needs: ['ddns', 'uplink'] });

  test('is held back while that has failed, and says by what', () => {
    const bench = new Bench();
    expect(bench.look(uplink(), ddns(), mail())).toEqual(['fired uplink']);
    expect(bench.during(hour, uplink(), ddns(), mail())).toEqual([]);
    expect([...bench.state.held].map(([source, held]) => [source, held.suppressedBy])).toEqual([
      ['ddns', 'uplink'],
      ['mail', 'uplink'],
    ]);
  });

  test('is held back too if the cause is noticed a few seconds later', () => {
    const bench = new Bench();
    expect(bench.look(uplink(false), ddns())).toEqual([]);
    expect(bench.during(10 * second, uplink(false), ddns())).toEqual([]);
    expect(bench.during(minute, uplink(), ddns())).toEqual(['fired uplink']);
  });

  test('and has failed by itself is told after the settle time', () => {
    const bench = new Bench();
    expect(bench.look(uplink(false), ddns())).toEqual([]);
    expect(bench.during(20 * second, uplink(false), ddns())).toEqual(['fired ddns']);
  });

  test('is never told if it ends with its cause', () => {
    const bench = new Bench();
    bench.during(hour, uplink(), ddns());
    expect(bench.during(30 * second, uplink(false), ddns())).toEqual(['resolved uplink']);
    expect(bench.during(hour, uplink(false), ddns(false))).toEqual([]);
  });

  test('is told later if it outlives its cause', () => {
    const bench = new Bench();
    bench.during(hour, uplink(), ddns());
    expect(bench.during(2 * minute, uplink(false), ddns())).toEqual([
      'resolved uplink',
      'fired ddns',
    ]);
    expect(bench.told.at(-1)?.firedAt).toBe(begin + 5 * second);
  });

  test('waits anew if its cause comes back', () => {
    const bench = new Bench();
    bench.during(minute, uplink(), ddns());
    for (let times = 0; times < 3; times++) {
      bench.during(50 * second, uplink(false), ddns());
      bench.during(minute, uplink(), ddns());
    }
    expect(bench.told.map((event) => event.source)).not.toContain('ddns');
  });

  test('makes its cause as severe as it is itself: who hears of critical alerts alone must hear of it', () => {
    const bench = new Bench();
    const cause = condition('uplink', { severity: 'warning' });
    const worse = condition('vpn', { severity: 'critical', needs: ['uplink'] });
    expect(bench.look(cause, worse)).toEqual(['fired uplink', 'raised uplink']);
    expect(bench.told[1]?.severity).toBe('critical');
    expect(bench.during(hour, cause, worse)).toEqual([]);
  });

  test('on each other in a ring is told by one of them', () => {
    const bench = new Bench();
    const ring = [
      condition('a', { needs: ['b'] }),
      condition('b', { needs: ['c'] }),
      condition('c', { needs: ['a'] }),
    ];
    expect(bench.during(hour, ...ring)).toEqual(['fired a']);
  });

  test('is one alert, were it a thousand', () => {
    const bench = new Bench();
    const storm = Array.from({ length: 1000 }, (_, i) =>
      condition(`check:${i}`, { severity: 'critical', needs: ['uplink'] }),
    );
    expect(bench.look(...storm.slice(0, 500), uplink(), ...storm.slice(500))).toEqual([
      'fired uplink',
    ]);
    expect(bench.during(5 * minute, ...storm, uplink())).toEqual([]);
  });
});

describe('a clock that jumps', () => {
  test.each([
    ['forward by a year', 365 * 24 * hour],
    ['back by a year', -365 * 24 * hour],
  ])('%s ends no alert, and begins none', (_, jump) => {
    const bench = new Bench({ remind: 24 * hour });
    bench.look(on('a', { severity: 'critical' }), on('b'));
    bench.during(minute, on('a', { severity: 'critical' }));
    bench.now += jump;
    expect(bench.look(on('a', { severity: 'critical' }))).toEqual([]);
    expect(bench.during(5 * minute, on('a', { severity: 'critical' }))).toEqual([]);
    expect(bench.look(off('a'), off('b'))).toEqual(['resolved a', 'resolved b']);
  });
});

/** Any course of things: sources that need each other at random, clocks that jump. */
const names = ['a', 'b', 'c', 'd', 'e'];
const anyCondition = fc.record({
  source: fc.constantFrom(...names),
  active: fc.boolean(),
  severity: fc.constantFrom('info' as const, 'warning' as const, 'critical' as const),
  text: fc.string({ maxLength: 5 }),
  needs: fc.array(fc.constantFrom(...names), { maxLength: 2 }),
});
const anyCourse = fc.array(
  fc.record({
    step: fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 0, max: 20 * minute }) },
      { weight: 1, arbitrary: fc.integer({ min: -hour, max: 1000 * hour }) },
    ),
    conditions: fc.array(anyCondition, { maxLength: 8 }),
  }),
  { maxLength: 60 },
);

describe('whatever happens', () => {
  const play = (course: { step: number; conditions: Condition[] }[]) => {
    const bench = new Bench({ remind: hour });
    for (const { step, conditions } of course) {
      bench.now += step;
      bench.look(...conditions);
    }
    return bench;
  };

  test('an alert is fired at most once and resolved at most once, in this order', () => {
    fc.assert(
      fc.property(anyCourse, (course) => {
        const open = new Map<string, string>();
        const ended = new Set<string>();
        for (const { kind, alert, source } of play(course).told) {
          expect(ended.has(alert)).toBe(false);
          if (kind === 'fired' || kind === 'flapping') {
            expect(open.has(source)).toBe(false);
            open.set(source, alert);
          } else expect(open.get(source)).toBe(alert);
          if (kind === 'resolved') {
            open.delete(source);
            ended.add(alert);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test('once all is well for long, every alert is over', () => {
    fc.assert(
      fc.property(anyCourse, (course) => {
        const bench = play(course);
        bench.during(hour, ...names.map((name) => off(name)));
        expect([...bench.state.told.keys(), ...bench.state.held.keys()]).toEqual([]);
        const count = (kinds: string[]) =>
          bench.told.filter((event) => kinds.includes(event.kind)).length;
        expect(count(['fired', 'flapping'])).toBe(count(['resolved']));
      }),
      { numRuns: 60 },
    );
  });

  test('what lasts is known to the owner: it is told, or what explains it is', () => {
    fc.assert(
      fc.property(
        anyCourse,
        fc.array(anyCondition, { minLength: 1, maxLength: 8 }),
        (course, last) => {
          const bench = play(course);
          // A cause that is watched no more is over after a day at most, and what it held is then told.
          bench.during(25 * hour, ...last);
          const active = new Set(last.filter((one) => one.active).map((one) => one.source));
          for (const source of active) {
            const held = bench.state.held.get(source);
            const known =
              bench.state.told.has(source) || bench.state.told.has(held?.suppressedBy ?? '');
            expect(known).toBe(true);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  test('nothing is told more often than once in half an hour for long', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 100, maxLength: 200 }), (course) => {
        const bench = new Bench();
        for (const active of course) {
          bench.now += minute;
          bench.look(condition('a', { active }));
        }
        // 3 times before it is flapping, each with an end; then at most one thing in 30 minutes.
        expect(bench.told.length).toBeLessThanOrEqual(6 + 1 + (course.length / 30) * 4);
      }),
      { numRuns: 100 },
    );
  });
});
