import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from './exec.ts';
import { copyProject, runCli } from './testing/build.ts';

let folder = '';
let root = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-cli-'));
  root = join(folder, 'project');
  await copyProject(root);
});
afterAll(() => rm(folder, { recursive: true }));

const commands = [
  ['build'],
  ['plan'],
  ['lock', 'update'],
  ['lock', 'check'],
  ['lock', 'show'],
  ['matrix'],
  ['verify'],
  ['boot'],
  ['inspect'],
  ['diff'],
  ['personalize'],
  ['compliance'],
  ['cache', 'ls'],
  ['cache', 'prune'],
  ['keys', 'new'],
  ['sign'],
  ['verify'],
  ['stage', 'ls'],
  ['stage', 'new'],
  ['schema'],
  ['doctor'],
];

describe('the command line', () => {
  test('every command has help, and its exit codes are told', async () => {
    const all = await Promise.all(commands.map((command) => runCli(root, [...command, '--help'])));
    for (const help of all) {
      expect(help.code).toBe(0);
      expect(help.stdout).toContain('Usage: pi-gateway-image');
      expect(help.stdout).toContain('--json');
    }
    const top = await runCli(root, ['--help']);
    expect(top.stdout).toMatch(/Exit codes:[\s\S]*0 {2}done[\s\S]*Examples:/);
  });

  test('what it does not know ends with code 2 and points to the help', async () => {
    for (const args of [
      ['biuld'],
      ['build', '--fast'],
      ['inspect'],
      ['boot', '--machine', 'pi9'],
    ]) {
      const result = await runCli(root, args);
      expect(result.code, args.join(' ')).toBe(2);
      expect(result.stderr).toContain('error:');
    }
  });

  test('a mistake in gateway.yaml ends with code 2, place and caret, and as JSON for machines', async () => {
    await writeFile(join(root, 'gateway.local.yaml'), 'stages:\n  ssh:\n    prot: 2222\n');
    const result = await runCli(root, ['build']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain("Unknown key 'stages.ssh.prot'");
    expect(result.stderr).toContain('at gateway.local.yaml:3:5');
    expect(result.stderr).toContain("→ Did you mean 'port'?");
    expect(result.stderr).not.toContain('\x1b[');
    const json = await runCli(root, ['plan', '--json']);
    expect(JSON.parse(json.stderr).error).toMatchObject({
      where: 'gateway.local.yaml:3:5',
      code: 2,
    });
    await rm(join(root, 'gateway.local.yaml'));
  });

  test('plan tells what an empty cache makes of gateway.yaml, and changes nothing', async () => {
    const result = await runCli(root, ['plan', '--set', 'base=[debian]', '--json']);
    expect(result.code).toBe(0);
    const steps = JSON.parse(result.stdout) as {
      step: string;
      cached: boolean;
      packages: string[];
      files: string[];
    }[];
    expect(steps.every((step) => !step.cached)).toBe(true);
    expect(steps.find((step) => step.step === 'packages ssh')?.packages).toContain(
      'openssh-server',
    );
    expect(steps.find((step) => step.step === 'config ssh')?.files).toContain(
      '/etc/ssh/sshd_config.d/10-gateway.conf',
    );
    const text = await runCli(root, ['plan', '--explain-config']);
    expect(text.stdout).toMatch(/^stages\.ssh\.port +22 +gateway\.yaml:\d+$/m);
    expect(text.stdout).toMatch(/^debian\.suite +"trixie" +default$/m);
  });

  test('stage new refuses bad names and names that are taken', async () => {
    expect((await runCli(root, ['stage', 'new', 'Bad Name'])).code).toBe(2);
    const taken = await runCli(root, ['stage', 'new', 'ssh']);
    expect(taken.code).toBe(2);
    expect(taken.stderr).toContain("There is a stage 'ssh' already");
  });

  test('an image that is not there, or no image, is told so', async () => {
    const none = await runCli(root, ['inspect', 'none.img']);
    expect(none.code).not.toBe(0);
    expect(none.stderr).toContain('none.img');
    const boot = await runCli(root, ['boot']);
    expect(boot.code).toBe(2);
    expect(boot.stderr).toContain('npm run image');
  });

  test('without root and without sudo it says so, with code 3, and a missing program is named', async () => {
    await chmod(folder, 0o755);
    const cli = [process.execPath, join(root, 'builder/cli.ts'), 'build', '--set', 'base=[debian]'];
    const nobody = await run(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', 'env', 'PATH=/nowhere', ...cli],
      { okCodes: [3] },
    );
    expect(nobody.exitCode).toBe(3);
    expect(nobody.stderr).toContain('Building needs root');
    expect(nobody.stderr).toContain('install sudo');
    await expect(run('mmdebstrapp', [])).rejects.toMatchObject({
      message: "The command 'mmdebstrapp' is not installed",
      fix: 'Run: npm run doctor',
      code: 3,
    });
  });

  test('the shell of a stage that does not exist is refused before anything is built', async () => {
    const result = await runCli(root, ['build', '--shell', 'shh']);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain("no stage 'shh'");
  });
});
