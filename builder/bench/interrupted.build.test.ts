import { spawn } from 'node:child_process';
import { access, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyProject, project, removeFolder, traces } from '../testing/build.ts';

let folder: string;
beforeAll(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'pi-gateway-bench-')), 'project');
  await copyProject(folder);
});
afterAll(() => removeFolder(join(folder, '..')));

/** Ends with what it has said when it says `text`. */
async function interruptWhen(text: string, signal: NodeJS.Signals): Promise<number | null> {
  const args = ['--only', 'package', '--runs', '1', '--cache', join(folder, 'cache')];
  const child = spawn(process.execPath, [join(project, 'builder/bench/main.ts'), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await new Promise<void>((found, failed) => {
    child.stderr.on('data', (data: Buffer) => {
      said += data;
      if (said.includes(text)) found();
    });
    void ended.then(() => failed(new Error(`it ended without saying ${text}:\n${said}`)));
  });
  await sleep(1500);
  child.kill(signal);
  return await ended;
}

test('a benchmark that is interrupted leaves no file, mount, loop device or process', async () => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    expect(await interruptWhen('building the image', signal)).toBe(code);
    await sleep(500);
    expect(await traces(folder)).toEqual([]);
    await expect(access(join(folder, 'cache/bench'))).rejects.toThrow('ENOENT');
  }
});
