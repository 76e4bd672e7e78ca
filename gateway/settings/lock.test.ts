import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { System } from '../../firstboot/system.ts';
import type { GatewayError } from '../errors.ts';
import { withLock } from './lock.ts';

const source = fileURLToPath(new URL('lock-agent.ts', import.meta.url));
let root = '';
let agent = '';
let system: System;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'gateway-lock-'));
  agent = join(root, 'agent.mjs');
  const how = { bundle: true, platform: 'node', format: 'esm', logLevel: 'silent' } as const;
  await build({ ...how, entryPoints: [source], outfile: agent });
  system = { root, boot: '/boot', say: () => undefined, run: async () => '' };
});
afterAll(() => rm(root, { recursive: true }));

test('of many processes, killed all the time with the lock in their hands, never two have it', async () => {
  const running = new Set<ChildProcess>();
  const said: string[] = [];
  let isOver = false;
  let killed = 0;
  const start = () => {
    const child = spawn(process.execPath, [agent, root], { stdio: ['ignore', 'pipe', 'inherit'] });
    running.add(child);
    child.stdout.on('data', (data: Buffer) => {
      said.push(...data.toString().trim().split('\n'));
      // It has the lock still, or has just given it back.
      if (Math.random() < 0.25) child.kill('SIGKILL');
    });
    return new Promise<void>((resolve) => {
      child.once('close', () => {
        running.delete(child);
        killed += 1;
        if (isOver) resolve();
        else void start().then(resolve);
      });
    });
  };
  const gone = Array.from({ length: 10 }, start);
  const end = performance.now() + 15_000;
  while (performance.now() < end && killed < 150)
    await new Promise((resolve) => setTimeout(resolve, 50));
  isOver = true;
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(gone);
  expect(said.filter((line) => line !== 'alone')).toEqual([]);
  expect(killed).toBeGreaterThan(20);
  console.info(`${said.length} times the lock, ${killed} processes killed`);
  // And the last dead one does not hinder the next.
  expect(await withLock(system, async () => 'mine', 1)).toBe('mine');
});

test('who waits in vain is told so, and by whom', async () => {
  await withLock(system, async () => {
    const second = withLock(system, async () => 'second', 0.1);
    await expect(second).rejects.toThrow('Another change of the settings is under way');
    await expect(second).rejects.toMatchObject({
      kind: 'conflict',
    } satisfies Partial<GatewayError>);
  });
});
