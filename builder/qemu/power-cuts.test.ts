import { describe, expect, test } from 'vitest';
import {
  hasCome,
  isPast,
  outcomeShown,
  planCuts,
  seededRandom,
  stepsShown,
  type Timeline,
} from './power-cuts.ts';

const timeline: Timeline = {
  steps: ['entropy', 'ssh-host-keys', 'ca', 'admin', 'wipe'].map((step, index) => ({
    step,
    at: index * 1000,
  })),
  end: 5500,
};
const order = timeline.steps.map(({ step }) => step);
const plan = (seed: number) =>
  planCuts(timeline, { random: seededRandom(seed), least: 30, perCard: 6 });

describe('the moments at which the power is cut', () => {
  test('are 30 or more: the start of every step, and 12 or more between first step and outcome', () => {
    const all = plan(1).flat();
    expect(all).toHaveLength(30);
    const starts = all.filter(({ after }) => after === 0).map(({ step }) => step);
    expect(new Set(starts)).toEqual(new Set(order));
    for (const { step, after } of all) {
      expect(order).toContain(step);
      expect(after).toBeLessThan(step === 'wipe' ? 1500 : 1000);
    }
    const many = { ...timeline, steps: order.concat('abcdefghijklmnopqrstuvwxyz'.split('')) };
    const steps = many.steps.map((step, at) => ({ step, at }));
    const cuts = planCuts({ steps, end: 40 }, { random: Math.random, least: 30, perCard: 6 });
    expect(cuts.flat()).toHaveLength(steps.length + 12);
  });

  test('come later and later on each card, six at most on one', () => {
    for (const card of plan(2)) {
      expect(card.length).toBeLessThanOrEqual(6);
      const places = card.map(({ step, after }) => order.indexOf(step) * 10_000 + after);
      expect(places).toEqual(places.toSorted((a, b) => a - b));
    }
  });

  test('are the same for the same seed, and others for another', () => {
    expect(plan(3)).toEqual(plan(3));
    expect(plan(3)).not.toEqual(plan(4));
  });

  test('are spread over the whole time', () => {
    const random = seededRandom(5);
    const numbers = Array.from({ length: 10_000 }, random);
    const tenths = Array.from(
      { length: 10 },
      (_, tenth) => numbers.filter((n) => Math.floor(n * 10) === tenth).length,
    );
    for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe('a moment has come', () => {
  const moment = { step: 'ca', after: 300 };

  test('when its step has run so long, and not before', () => {
    expect(hasCome(moment, order, new Map(), 10_000)).toBe(false);
    expect(hasCome(moment, order, new Map([['ssh-host-keys', 0]]), 10_000)).toBe(false);
    expect(hasCome(moment, order, new Map([['ca', 1000]]), 1299)).toBe(false);
    expect(hasCome(moment, order, new Map([['ca', 1000]]), 1300)).toBe(true);
  });

  test('when a later step begins, because the step was done before the last cut', () => {
    expect(hasCome(moment, order, new Map([['admin', 1000]]), 1000)).toBe(true);
  });
});

describe('the console', () => {
  test('shows which steps have begun, by whole lines', () => {
    const console = 'x\r\nFirst boot: entropy\r\n[  1.2] node[1]: First boot: ca\nFirst boot: adm';
    expect(stepsShown(console)).toEqual(['entropy', 'ca']);
  });

  test('shows the outcome, good or bad', () => {
    expect(outcomeShown('Pi Gateway: first boot is complete.\r\n')).toBe(true);
    expect(outcomeShown('Pi Gateway: first boot is not complete.\r\n')).toBe(true);
    expect(outcomeShown('First boot: wipe\r\n')).toBe(false);
  });

  test('shows a boot that had no first boot to do', () => {
    expect(isPast('attic login: ')).toBe(true);
    expect(isPast('[  OK  ] Reached target multi-user.target - Multi-User System.\r\n')).toBe(true);
    expect(isPast('[  OK  ] Reached target sysinit.target\r\n')).toBe(false);
  });
});
