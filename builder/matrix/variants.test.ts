import { expect, test } from 'vitest';
import { checkVariants, slotsFor, variantLayers } from './variants.ts';

test('a variant is its environment, its values and a name of its own', () => {
  const layers = variantLayers(
    {
      small: { env: 'minimal' },
      router: { env: 'router', set: { 'stages.ssh.port': 2222, 'stages.ssh.zones': ['vpn'] } },
      lab: { name: 'bench' },
    },
    {
      name: 'pi-gateway',
      sets: ['image.compress=zstd'],
      namedByEnv: (env) => env === 'minimal',
    },
  );
  expect(layers).toEqual([
    { variant: 'small', env: 'minimal', sets: ['image.compress=zstd'] },
    {
      variant: 'router',
      env: 'router',
      sets: [
        'image.compress=zstd',
        'stages.ssh.port=2222',
        'stages.ssh.zones=["vpn"]',
        'name=pi-gateway-router',
      ],
    },
    { variant: 'lab', env: undefined, sets: ['image.compress=zstd', 'name=bench'] },
  ]);
});

test('two variants of one name, or of two caches, are refused before anything is built', () => {
  const one = { variant: 'a', name: 'x', cache: '/c' };
  expect(() => checkVariants([one, { ...one, variant: 'b' }])).toThrow(
    "The variants 'a' and 'b' both make the image 'x'",
  );
  expect(() => checkVariants([one, { variant: 'b', name: 'y', cache: '/d' }])).toThrow('one cache');
  expect(() => checkVariants([one, { variant: 'b', name: 'y', cache: '/c' }])).not.toThrow();
});

test('as many steps run side by side as cores and memory allow, and never none', () => {
  expect(slotsFor(8, 4e9)).toBe(2);
  expect(slotsFor(2, 24e9)).toBe(2);
  expect(slotsFor(4, 1e9)).toBe(1);
});
