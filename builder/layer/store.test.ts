import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LayerStore } from './store.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-store-'));
});
afterAll(() => rm(folder, { recursive: true }));

const digest = (letter: string) => letter.repeat(64);

async function tree(name: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(path);
  await writeFile(join(path, 'file'), name);
  return path;
}

const about = { title: 'config ssh', seconds: 1, facts: { initramfs: false } };

test('a layer that was added is found by its own process, and by others once it is settled', async () => {
  const [mine, other] = [new LayerStore(folder), new LayerStore(folder)];
  await mine.add(digest('a'), await tree('one'), about);
  expect(await mine.find(digest('a'))).toMatchObject({ ...about, bytes: 3, files: 1 });
  expect(await other.find(digest('a'))).toBeUndefined();
  expect(await other.list()).toEqual([]);
  await Promise.all([mine.settle(), mine.settle()]);
  expect(await other.find(digest('a'))).toMatchObject({ title: 'config ssh', files: 1 });
  expect(await other.list()).toHaveLength(1);
});

test('what a killed process had added and not settled is swept away, and nothing else', async () => {
  const killed = new LayerStore(folder);
  await killed.add(digest('b'), await tree('two'), about);
  const next = new LayerStore(folder);
  await next.sweep();
  expect(await readdir(next.directory)).toEqual([digest('a').slice(0, 20)]);
  await next.commit(digest('b'), await tree('three'), about);
  expect(await new LayerStore(folder).find(digest('b'))).toMatchObject({ bytes: 5 });
});
