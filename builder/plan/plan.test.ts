import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineStage } from '../../stages/define.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import { digestOf } from './digest.ts';
import { orderStages } from './order.ts';
import { planLayers, reasonFor } from './plan.ts';

function prepared(name: string, change: Partial<PreparedStage> = {}): PreparedStage {
  const definition = defineStage({ name, summary: name, options: z.strictObject({}) });
  return {
    stage: { definition, module: `${name}.ts`, overlay: name },
    options: {},
    purge: [],
    packages: [`${name}-package`],
    services: { enable: [`${name}.service`], disable: [], mask: [] },
    files: [],
    filesDigest: 'files',
    codeDigest: 'code',
    ...change,
  };
}

const plan = (stages: PreparedStage[], more: Partial<Parameters<typeof planLayers>[0]> = {}) =>
  planLayers({
    baseDigest: 'base',
    stages,
    pins: {},
    freshness: '',
    sourceDateEpoch: 1,
    toolsDigest: 'tools',
    config: { name: 'x', stages: {}, ports: [] },
    ...more,
  });

const changedIds = (a: ReturnType<typeof plan>, b: ReturnType<typeof plan>) =>
  b.filter((step, index) => step.digest !== a[index]?.digest).map((step) => step.id);

describe('the plan', () => {
  const stages = [prepared('a'), prepared('b')];
  const before = plan(stages);

  test('installs every package before it writes any file', () => {
    expect(before.map((step) => step.id)).toEqual([
      'packages a',
      'packages b',
      'config a',
      'config b',
    ]);
  });

  test('is the same for the same inputs, whatever the order of keys', () => {
    expect(plan(stages)).toEqual(before);
    expect(digestOf({ a: 1, b: { c: 2, d: 3 } })).toBe(digestOf({ b: { d: 3, c: 2 }, a: 1 }));
  });

  test('after a changed file makes that layer and those above it, but installs nothing', () => {
    expect(
      changedIds(before, plan([prepared('a'), prepared('b', { filesDigest: 'other' })])),
    ).toEqual(['config b']);
    expect(
      changedIds(before, plan([prepared('a', { filesDigest: 'other' }), prepared('b')])),
    ).toEqual(['config a', 'config b']);
  });

  test('after a changed base, tool, date or wish for newest packages makes all of them', () => {
    for (const more of [
      { baseDigest: 'x' },
      { toolsDigest: 'x' },
      { sourceDateEpoch: 2 },
      { freshness: 'now' },
    ])
      expect(changedIds(before, plan(stages, more))).toHaveLength(4);
  });

  test('pins versions, and a pin changes the layer', () => {
    const pinned = plan(stages, { pins: { 'b-package': '1.2-3' } });
    expect(pinned[1]).toMatchObject({ packages: ['b-package=1.2-3'] });
    expect(changedIds(before, pinned)).toEqual(['packages b', 'config a', 'config b']);
  });

  test('has no layer for a stage without files, services and code', () => {
    const idle = prepared('c', { packages: [], services: { enable: [], disable: [], mask: [] } });
    expect(plan([idle])).toEqual([]);
  });

  test('says why a layer must be made', () => {
    const inputs = before[3]?.inputs ?? {};
    expect(reasonFor(inputs, undefined)).toBe('never made here');
    expect(reasonFor(inputs, inputs)).toBe('no longer in the cache');
    expect(reasonFor({ ...inputs, files: 'x', parent: 'y' }, inputs)).toBe('its files changed');
    expect(reasonFor({ ...inputs, parent: 'y' }, inputs)).toBe('a layer below it changed');
  });
});

describe('stages', () => {
  test('come after those that they need, and else by name', () => {
    const order = orderStages([
      { name: 'c' },
      { name: 'a', needs: ['z'] },
      { name: 'z' },
      { name: 'b', needs: ['a'] },
    ]);
    expect(order.map((stage) => stage.name)).toEqual(['z', 'a', 'b', 'c']);
  });

  test('that need each other in a circle are refused with the circle', () => {
    expect(() =>
      orderStages([
        { name: 'a', needs: ['b'] },
        { name: 'b', needs: ['a'] },
      ]),
    ).toThrow('a → b → a');
  });
});
