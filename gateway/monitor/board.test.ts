import { beforeEach, describe, expect, test } from 'vitest';
import { Board } from './board.ts';
import { type CheckDefinition, type Finding, failed, ok, unknown } from './checks/check.ts';
import { checkConditions } from './conditions.ts';
import type { Check } from './monitor.ts';
import { Keeper } from './restarts.ts';
import { TestClock } from './testing.ts';

let clock: TestClock;
let board: Board;
let changes: string[];
let world: Record<string, Finding>;
let looks: Record<string, number>;

beforeEach(() => {
  clock = new TestClock();
  changes = [];
  world = {};
  looks = {};
  board = new Board((check) => changes.push(`${check.id} ${check.health}`));
});

function define(...rest: (Partial<CheckDefinition> & { id: string })[]): void {
  board.define(
    rest.map((one) => ({
      title: one.id,
      needs: [],
      every: 30,
      confirm: 2,
      look: async () => {
        looks[one.id] = (looks[one.id] ?? 0) + 1;
        return world[one.id] ?? ok('well');
      },
      ...one,
    })),
    clock.now(),
  );
}

async function live(seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed += 10) {
    await board.look(clock.now);
    clock.pass(10);
  }
}

const health = (id: string) => board.get(id)?.health;

test('each is looked at in its turn, and sooner while it is in doubt', async () => {
  define({ id: 'a', every: 60 });
  await live(300);
  expect(looks.a).toBe(5);
  world.a = failed('broken');
  await live(60);
  // In its turn, and once more 10 s later.
  expect(looks.a).toBe(7);
  expect(changes).toEqual(['a ok', 'a failed']);
});

test('one bad look is no outage, however often it happens', async () => {
  define({ id: 'a' });
  await live(30);
  for (let round = 0; round < 20; round += 1) {
    world.a = failed('lost');
    await live(10);
    world.a = ok('well');
    await live(50);
  }
  expect(changes).toEqual(['a ok']);
});

test('that it is well again counts at once, with the time of the change', async () => {
  define({ id: 'a' });
  world.a = failed('broken');
  await live(60);
  expect(board.get('a')).toMatchObject({ health: 'failed', detail: 'broken' });
  world.a = ok('well');
  const before = clock.time;
  await live(40);
  expect(board.get('a')).toMatchObject({ health: 'ok' });
  expect(board.get('a')?.since).toBeGreaterThanOrEqual(before);
});

test('a look that never ends is not begun again, and one that throws is no failure', async () => {
  let begun = 0;
  define(
    {
      id: 'hangs',
      look: () => {
        begun += 1;
        return new Promise(() => undefined);
      },
    },
    { id: 'throws', look: async () => Promise.reject(new Error('no such file')) },
  );
  void board.look(clock.now);
  for (let round = 0; round < 10; round += 1) {
    clock.pass(30);
    void board.look(clock.now);
  }
  await Promise.resolve();
  expect(begun).toBe(1);
  await expect.poll(() => board.get('throws')?.detail).toBe('It cannot be looked at: no such file');
  expect(health('throws')).toBe('unknown');
});

describe('when the line goes down', () => {
  // As on a device: each with its own pace, and the line is looked at last.
  const graph = () =>
    define(
      { id: 'wiki', needs: ['uplink', 'dns'], every: 10 },
      { id: 'ddns', needs: ['uplink', 'dns'], every: 60, confirm: 1 },
      { id: 'dns', needs: ['uplink'], every: 20 },
      { id: 'uplink', needs: ['router'], every: 60, confirm: 3 },
      { id: 'router', every: 300 },
    );

  test('the line is told first: nothing that needs it is told before', async () => {
    graph();
    await live(60);
    changes = [];
    for (const id of ['wiki', 'ddns', 'dns', 'uplink', 'router']) world[id] = failed('no answer');
    await live(300);
    expect(changes[0]).toBe('router failed');
    expect(changes.indexOf('uplink failed')).toBeLessThan(changes.indexOf('dns failed'));
    expect(changes.indexOf('dns failed')).toBeLessThan(changes.indexOf('wiki failed'));
    expect(changes).toHaveLength(5);
    const conditions = checkConditions(board.checks(), new Keeper(async () => undefined));
    // Each but the first is explained by one that is active.
    const active = new Set(conditions.filter((one) => one.active).map(({ source }) => source));
    const roots = conditions.filter(
      (one) => one.active && !one.needs.some((need) => active.has(need)),
    );
    expect(roots.map(({ source }) => source)).toEqual(['check:router']);
  });

  test('what fails by itself is told without waiting for the rest of the world', async () => {
    graph();
    await live(60);
    changes = [];
    world.wiki = failed('500');
    await live(60);
    expect(changes).toEqual(['wiki failed']);
  });

  test('checks that need each other are told in the end', async () => {
    define({ id: 'a', needs: ['b'], every: 10 }, { id: 'b', needs: ['a'], every: 10 });
    await live(20);
    world.a = failed('x');
    world.b = failed('x');
    await live(200);
    expect(health('a')).toBe('failed');
    expect(health('b')).toBe('failed');
    expect(board.failedNeed('a')?.id).toBe('b');
  });
});

test('other settings keep what is known of checks that stay', async () => {
  define({ id: 'a' }, { id: 'b' });
  world.a = failed('broken');
  await live(60);
  const since = board.get('a')?.since;
  define({ id: 'a', title: 'renamed' }, { id: 'c' });
  expect(board.get('a')).toMatchObject({ health: 'failed', title: 'renamed', since });
  expect(board.checks().map(({ id }) => id)).toEqual(['a', 'c']);
});

test('what is not known has no condition: nobody hears of an end that nobody has seen', async () => {
  define({ id: 'a' });
  world.a = unknown('cannot tell');
  await live(30);
  expect(checkConditions(board.checks(), new Keeper(async () => undefined))).toEqual([]);
});

describe('restarts', () => {
  let restarted: number[];
  let keeper: Keeper;
  let answer: () => Promise<void>;

  beforeEach(() => {
    restarted = [];
    answer = async () => undefined;
    keeper = new Keeper(async (service) => {
      expect(service).toBe('dns');
      restarted.push(clock.steady);
      await answer();
    });
  });

  async function keep(seconds: number): Promise<void> {
    for (let passed = 0; passed < seconds; passed += 10) {
      await board.look(clock.now);
      await keeper.keep(board, clock.steady);
      clock.pass(10);
    }
  }
  const text = () => checkConditions(board.checks() as Check[], keeper)[0]?.text;

  test('come ever more rarely, and end after five', async () => {
    define({ id: 'dns', restart: 'dns', every: 10 });
    world.dns = failed('no answer');
    const began = clock.steady;
    await keep(110);
    expect(restarted).toEqual([]);
    await keep(4 * 3600);
    const pauses = restarted.map((at, index) => at - (restarted[index - 1] ?? began));
    expect(pauses.map((pause) => Math.round(pause / 60))).toEqual([2, 4, 8, 16, 32]);
    expect(text()).toBe(
      'dns: no answer; restarted 5 times without success, which is not tried again',
    );
  });

  test('end when it is well, and begin anew only when it was so for long', async () => {
    define({ id: 'dns', restart: 'dns', every: 10 });
    world.dns = failed('no answer');
    await keep(200);
    expect(restarted).toHaveLength(1);
    expect(text()).toBe('dns: no answer; restarted once');
    world.dns = ok('well');
    await keep(60);
    expect(text()).toBe('dns: well');
    world.dns = failed('no answer');
    await keep(600);
    // Well for a minute is not mended: the pause is the second.
    expect(restarted).toHaveLength(2);
    world.dns = ok('well');
    await keep(1000);
    world.dns = failed('no answer');
    await keep(190);
    expect(restarted).toHaveLength(3);
  });

  test('are none while something that it needs has failed', async () => {
    define(
      { id: 'dns', needs: ['uplink'], restart: 'dns', every: 10 },
      { id: 'uplink', every: 10 },
    );
    world.dns = failed('no answer');
    world.uplink = failed('no answer');
    await keep(3600);
    expect(restarted).toEqual([]);
    world.uplink = ok('well');
    // It is given time to come back by itself.
    await keep(100);
    expect(restarted).toEqual([]);
    await keep(100);
    expect(restarted).toHaveLength(1);
  });

  test('that do not work are said, and one that hangs is not begun twice', async () => {
    define({ id: 'dns', restart: 'dns', every: 10 });
    world.dns = failed('no answer');
    answer = () => Promise.reject(new Error('there is no service dns'));
    await keep(200);
    expect(text()).toBe('dns: no answer; it could not be restarted: there is no service dns');
    answer = () => new Promise(() => undefined);
    for (let round = 0; round < 200; round += 1) {
      await board.look(clock.now);
      void keeper.keep(board, clock.steady);
      clock.pass(10);
    }
    expect(restarted).toHaveLength(2);
  });
});
