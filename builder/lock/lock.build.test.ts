import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliResult, copyProject, project, removeFolder, runCli } from '../testing/build.ts';

// A project of its own that uses the main one's layers.
let root = '';
const debian = ['--set', 'base=[debian]'];
const quick = ['--set', 'image.compress=zstd', '--set', 'image.compress_level=1'];

beforeAll(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'pi-gateway-lock-')), 'project');
  await copyProject(root);
  await writeFile(join(root, 'gateway.local.yaml'), `paths:\n  cache: ${join(project, 'cache')}\n`);
});
afterAll(() => removeFolder(join(root, '..')));

function done(result: CliResult): CliResult {
  expect(result.stderr).not.toContain('Error:');
  expect(result.code).toBe(0);
  return result;
}

const lockFile = () => join(root, 'gateway.lock');

describe('a locked build', () => {
  test('without a lock says how to make one', async () => {
    const result = await runCli(root, ['build', '--locked', ...debian]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('lock update');
  });

  test('takes what was locked, and its image is proved by a rebuild from its manifest', async () => {
    done(await runCli(root, ['lock', 'update', '--current', ...debian]));
    expect(await readFile(lockFile(), 'utf8')).toMatch(/^ {6}openssh-server: \S+ sha256:/m);
    const built = done(
      await runCli(root, ['build', '--locked', '--json', ...debian, ...quick]),
    ).stdout;
    const { artifacts } = JSON.parse(built) as {
      artifacts: { file: string; size: number; sha256: string }[];
    };
    const image = join(root, 'output/pi-gateway/pi-gateway.img');
    const manifest = JSON.parse(await readFile(join(image, '../manifest.json'), 'utf8'));
    expect(manifest.resources.peak_memory).toBeGreaterThan(50e6);
    expect(manifest.resources.peak_memory).toBeLessThanOrEqual(1.5e9);
    expect(manifest.resources.peak_disk).toBeLessThanOrEqual(3 * (artifacts[0]?.size ?? 0));
    const proof = done(
      await runCli(root, [
        'verify',
        '--rebuild',
        `${image}.zst`,
        '--cache',
        join(project, 'cache'),
        '--json',
      ]),
    ).stdout;
    expect(JSON.parse(proof)).toMatchObject({
      same: true,
      rebuilt: artifacts[0]?.sha256,
      fromNothing: false,
    });
  });

  test('an image of other files is not proved, and it is told which step and which file', async () => {
    const motd = join(root, 'overlays/wireguard/etc/wireguard/peers.d/README');
    const before = await readFile(motd, 'utf8');
    await writeFile(motd, `${before}edited\n`);
    const result = await runCli(root, [
      'verify',
      '--rebuild',
      join(root, 'output/pi-gateway/manifest.json'),
      '--cache',
      join(project, 'cache'),
    ]);
    await writeFile(motd, before);
    expect(result.code).toBe(1);
    expect(result.stdout).toContain('config wireguard');
    expect(result.stdout).toMatch(
      /\/etc\/wireguard\/peers\.d\/README, line \d+\n.*\n {4}\+ edited/,
    );
  });

  test('refuses a version that the archive does not have, before anything is made', async () => {
    const lock = await readFile(lockFile(), 'utf8');
    await writeFile(lockFile(), lock.replace(/^( +adduser: )\S+/m, '$10.1'));
    const result = await runCli(root, ['build', '--locked', '--raw-only', ...debian]);
    await writeFile(lockFile(), lock);
    expect(result.code).toBe(4);
    expect(result.stderr).toMatch(/adduser +0\.1 +3\.\d+/);
    expect(result.stderr).not.toContain('packages system …');
  });
});

describe('a matrix', () => {
  test('makes what two variants share once; one that fails does not stop the others', async () => {
    const variants = [
      'matrix:',
      '  one: {env: bare, name: one, set: {debian.packages: []}}',
      '  two: {env: bare, name: two}',
      '  broken: {set: {base: [{file: ./missing.img}]}}',
    ];
    const config = join(root, 'fleet.yaml');
    await writeFile(
      config,
      `${await readFile(join(root, 'gateway.yaml'), 'utf8')}\n${variants.join('\n')}\n`,
    );
    const result = await runCli(root, ['matrix', config, '--raw-only', '--json']);
    expect(result.code).toBe(1);
    const summary = JSON.parse(result.stdout) as {
      variant: string;
      done: boolean;
      error?: { what: string };
      steps: { step: string; cached: boolean }[];
    }[];
    expect(summary.map(({ variant, done: good }) => [variant, good])).toEqual([
      ['one', true],
      ['two', true],
      ['broken', false],
    ]);
    expect(summary[2]?.error?.what).toBe('There is no such base image');
    const bases = summary.flatMap(({ steps }) =>
      steps.filter((step) => step.step === 'base debian' && !step.cached),
    );
    expect(bases.length).toBeLessThanOrEqual(1);
  });
});
