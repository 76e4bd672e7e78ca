import { appendFile, mkdir, mkdtemp, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hostPath, run } from './exec.ts';
import {
  type CliResult,
  copyProject,
  project,
  removeFolder,
  runCli,
  traces,
} from './testing/build.ts';

type Report = { raw_seconds: number; steps: { step: string; cached: boolean; seconds: number }[] };

const raw = ['build', '--set', 'base=[debian]', '--raw-only', '--json'];

function report(result: CliResult): Report {
  expect(result.stderr).not.toContain('Error:');
  expect(result.code).toBe(0);
  return JSON.parse(result.stdout) as Report;
}

const ran = (done: Report) => done.steps.filter((step) => !step.cached).map((step) => step.step);

// A project of its own that uses the main one's layers: its changes cost the main one nothing.
let root = '';
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-rebuild-'));
  root = join(folder, 'project');
  await copyProject(root);
  await writeFile(join(root, 'gateway.local.yaml'), `paths:\n  cache: ${join(project, 'cache')}\n`);
  report(await runCli(root, raw));
});
afterAll(() => removeFolder(join(root, '..')));

describe('building again', () => {
  test('without a change runs no step and takes at most 2 s', async () => {
    const done = report(await runCli(root, raw));
    expect(ran(done)).toEqual([]);
    expect(done.raw_seconds).toBeLessThanOrEqual(2);
  });

  test('after an edit of a file of the last overlay runs that stage and the assembly, in at most 30 s', async () => {
    const plan = JSON.parse((await runCli(root, ['plan', '--json'])).stdout) as { step: string }[];
    const last = plan.findLast((step) => step.step.startsWith('config '))?.step ?? '';
    const file = join(root, 'overlays/wireguard/etc/wireguard/peers.d/README');
    expect(last).toBe('config wireguard');
    await appendFile(file, 'edited\n');
    const done = report(await runCli(root, raw));
    expect(ran(done)).toEqual([last, 'seal', 'image']);
    expect(done.raw_seconds).toBeLessThanOrEqual(30);
  });

  test('with another option runs only what depends on it, and plan says so beforehand', async () => {
    const set = ['--set', 'stages.monitoring.port=9200'];
    const plan = JSON.parse(
      (await runCli(root, ['plan', '--json', '--set', 'base=[debian]', ...set])).stdout,
    ) as {
      step: string;
      cached: boolean;
      reason?: string;
    }[];
    const monitoring = plan.find((step) => step.step === 'config monitoring');
    expect(monitoring).toMatchObject({ cached: false });
    expect(monitoring?.reason).toContain('options');
    expect(plan.find((step) => step.step === 'packages monitoring')?.cached).toBe(true);
  });

  test('a new stage from `stage new` builds, boots and passes its tests as it is', async () => {
    expect((await runCli(root, ['stage', 'new', 'hello'])).code).toBe(0);
    const done = report(await runCli(root, raw));
    expect(ran(done)).toContain('config hello');
    const image = join(root, 'output/pi-gateway/pi-gateway.img');
    const { stdout } = await runCli(root, ['inspect', image, '--json']);
    expect(JSON.parse(stdout).build.stages).toContain('hello');
    const tests = join(root, 'tests.json');
    for (const kind of ['unit', 'boot']) {
      await run(
        join(project, 'node_modules/.bin/vitest'),
        ['run', '--reporter=json', `--outputFile=${tests}`, '--project', kind, 'stages/hello'],
        {
          cwd: root,
          env: {
            PATH: `${join(project, 'node_modules/.bin')}:${hostPath}`,
            PI_GATEWAY_IMAGE: image,
          },
          okCodes: [1],
        },
      );
      const results = await readFile(tests, 'utf8');
      expect(JSON.parse(results), results).toMatchObject({ success: true, numPassedTests: 1 });
    }
  });
});

describe('the disk fills up', () => {
  test('before the build: it says how much is missing, and where', async () => {
    await onSmallDisk('300M', async (disk) => {
      const result = await runCli(root, [
        'build',
        '--set',
        'base=[debian]',
        '--set',
        `paths.cache=${disk}/cache`,
      ]);
      expect(result.code).toBe(3);
      expect(result.stderr).toMatch(/Too little disk space: 0\.\d GB free/);
      expect(result.stderr).toContain(`${disk}/cache`);
    });
  });

  test('in the middle of it: a clear error, nothing under a final name, nothing mounted', async () => {
    await onSmallDisk('400M', async (disk) => {
      await mkdir(join(disk, 'output'));
      const result = await runCli(root, [
        ...raw,
        '--no-space-check',
        '--set',
        `paths.output=${disk}/output`,
      ]);
      expect(result.code).toBe(3);
      expect(JSON.parse(result.stderr.trim().split('\n').at(-1) ?? '{}').error.what).toBe(
        'The disk is full',
      );
      const { stdout } = await run('find', [disk, '-name', 'pi-gateway.img']);
      expect(stdout).toBe('');
      expect((await traces(root)).filter((line) => !line.includes(disk))).toEqual([]);
    });
    report(await runCli(root, raw));
  });
});

async function onSmallDisk(size: string, work: (disk: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-disk-'));
  const image = join(folder, 'disk.img');
  const disk = join(folder, 'mnt');
  await mkdir(disk);
  await writeFile(image, '');
  await truncate(image, Number.parseInt(size, 10) * 1024 * 1024);
  await run('mke2fs', ['-q', '-t', 'ext4', image]);
  await run('mount', ['-o', 'loop', image, disk]);
  try {
    await work(disk);
  } finally {
    await run('umount', [disk]);
    await removeFolder(folder);
  }
}
