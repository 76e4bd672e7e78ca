import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { project } from '../builder/testing/build.ts';
import { version } from './version.ts';

/** The command line as it lies on the device: bundled, by the node that runs the tests. */

let folder = '';
let program = '';
/** The files that it is made of. */
let parts: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-cli-'));
  program = join(folder, 'pi-gateway.mjs');
  const { metafile } = await build({
    metafile: true,
    entryPoints: [join(project, 'gateway/cli.ts')],
    outfile: program,
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
    absWorkingDir: project,
    banner: {
      js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
    },
  });
  const [made] = Object.values(metafile.outputs);
  parts = Object.entries(made?.inputs ?? {}).flatMap(([path, { bytesInOutput }]) =>
    bytesInOutput > 0 ? [path] : [],
  );
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true }));

type Result = { code: number | null; stdout: string; stderr: string };

/** Runs it as nobody, where the tests are root's; so nothing of this machine is read that others may not. */
function cli(...args: string[]): Promise<Result> {
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      ...nobody,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', HOME: '/', FORCE_COLOR: '1' },
    });
    const result: Result = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (text) => {
      result.stdout += text;
    });
    child.stderr.on('data', (text) => {
      result.stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...result, code }));
  });
}

describe('the command line', () => {
  test('tells its version', async () => {
    expect(await cli('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
  });

  test('without a command shows all of them, which is a wrong command line', async () => {
    const { code, stdout, stderr } = await cli();
    expect(code).toBe(2);
    for (const name of ['status', 'doctor', 'service', 'vpn', 'config', 'support-bundle'])
      expect(stdout + stderr).toMatch(new RegExp(`^  ${name}`, 'm'));
  });

  test.each([
    [['statsu'], 'status'],
    [['vpm', 'list'], 'vpn'],
    [['service', 'restrat', 'dns'], 'restart'],
    [['logs', '--sinec', '1h'], '--since'],
    [['logs', '--priority', 'waring'], 'warning'],
  ])('%j is told what was probably meant, and ends with 2', async (args, meant) => {
    const { code, stdout, stderr } = await cli(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(meant);
    expect(stderr).toContain('--help');
  });

  test.each([['status'], ['doctor'], ['service list'], ['logs'], ['support-bundle']])(
    '%s without root says so, with what to do, and ends with 1',
    async (line) => {
      const { code, stdout, stderr } = await cli(...line.split(' '));
      expect(code).toBe(1);
      expect(stdout).toBe('');
      expect(stderr).toContain('This needs root');
      expect(stderr).toContain('→ Run it with sudo');
    },
  );

  test('every command has help, without colours where nobody sees them', async () => {
    const { stdout } = await cli('completion', 'fish');
    const names = [...stdout.matchAll(/__pi_gateway_at' -a (\S+)/g)].map(([, name]) => name ?? '');
    expect(names.length).toBeGreaterThan(10);
    const helps = await Promise.all(
      names.filter((name) => name !== 'help').map((name) => cli(name, '--help')),
    );
    for (const help of helps) {
      expect(help.code).toBe(0);
      expect(help.stdout).toMatch(/^Usage: pi-gateway /);
      expect(help.stdout).not.toContain('\u001b');
    }
  });
});

test('the bundle has no part of the daemon: no server, no monitoring, no mail, no dashboard', () => {
  expect(parts).toContain('gateway/status/command.ts');
  expect(
    parts.filter((path) =>
      /gateway\/(web|daemon|runtime|monitor\/(start|checks|collect|history)|alerts\/alerts|api\/server|helper\/(server|main))|nodemailer|preact/.test(
        path,
      ),
    ),
  ).toEqual([]);
});
