import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Gate, Once } from './gate.ts';

test('no more works run at a time than there are slots, and all of them run, also after one that fails', async () => {
  const gate = new Gate(2);
  let running = 0;
  let most = 0;
  const work = (fails: boolean) =>
    gate.run(async () => {
      most = Math.max(most, ++running);
      await sleep(10);
      running -= 1;
      if (fails) throw new Error('broken');
    });
  const results = await Promise.allSettled([true, false, false, true, false].map(work));
  expect(results.map((one) => one.status)).toEqual([
    'rejected',
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
  ]);
  expect(most).toBe(2);
});

test('what several ask for is done once, and its error is everybody’s', async () => {
  const once = new Once();
  let done = 0;
  const ask = () =>
    once.run('layer', async () => {
      done += 1;
      await sleep(5);
      return done;
    });
  expect(await Promise.all([ask(), ask()])).toEqual([1, 1]);
  const fail = () => once.run('other', () => Promise.reject(new Error('broken')));
  await expect(fail()).rejects.toThrow('broken');
  await expect(fail()).rejects.toThrow('broken');
});
